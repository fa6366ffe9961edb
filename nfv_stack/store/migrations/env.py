from database.migration import run_environment
from nfv_stack.store.tables import Base

run_environment(Base.metadata)
