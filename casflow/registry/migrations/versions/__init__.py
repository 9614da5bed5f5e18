"""The revisions, one a schema."""
