"""What happens, told to whoever listens: other rooms in this process, and people through REST."""
