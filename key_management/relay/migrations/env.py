from database.migration import run_environment
from key_management.relay.tables import Base

run_environment(Base.metadata)
