from database.migration import run_environment
from orchestrator.network.tables import Base

run_environment(Base.metadata)
