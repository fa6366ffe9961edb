from database.migration import run_environment
from orchestrator.uploads.tables import Base

run_environment(Base.metadata)
