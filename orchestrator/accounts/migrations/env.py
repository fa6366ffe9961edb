from database.migration import run_environment
from orchestrator.accounts.tables import Base

run_environment(Base.metadata)
