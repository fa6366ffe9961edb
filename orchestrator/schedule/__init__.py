"""The live schedule: who leads, whose turn it is, what the past turns brought, what comes next."""
