"""REST `/api/v1` for people and programs; one file a resource."""
