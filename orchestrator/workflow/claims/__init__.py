"""Who works on an operation: this process alone, or one of several that share a jobboard."""
