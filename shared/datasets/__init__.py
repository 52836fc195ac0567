"""The dataset registry: files in Blob, their schema and statistics in PostgreSQL."""
