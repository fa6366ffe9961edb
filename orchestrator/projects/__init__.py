"""Projects own images and deployments; who is no member does not see that they exist."""
