"""Images of the trusted data centre, named by the digest of their content."""
