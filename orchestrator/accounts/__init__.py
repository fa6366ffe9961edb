"""Users, tokens and sessions: who asks, and what his role lets him do (docs/accounts.md)."""
