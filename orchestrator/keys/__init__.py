"""Alice's end of the key stores, for deployments and for the schedule."""
