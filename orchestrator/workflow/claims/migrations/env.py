from database.migration import run_environment
from orchestrator.workflow.claims.fences import Base

run_environment(Base.metadata)
