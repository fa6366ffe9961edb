from database.migration import run_environment
from key_management.kme.tables import Base

run_environment(Base.metadata)
