from database.migration import run_environment
from orchestrator.audit.tables import Base

run_environment(Base.metadata)
