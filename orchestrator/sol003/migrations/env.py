from database.migration import run_environment
from orchestrator.sol003.tables import Base

run_environment(Base.metadata)
