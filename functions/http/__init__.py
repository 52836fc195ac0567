"""HTTP functions, one module an area."""
