from database.migration import run_environment
from orchestrator.projects.tables import Base

run_environment(Base.metadata)
