"""The glass of an emulated network: who sees whom, with what loss. CONTROL.md is its protocol."""
