from database.migration import run_environment
from orchestrator.store.tables import Base

run_environment(Base.metadata)
