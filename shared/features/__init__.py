"""Features: one plan, two executors (Polars for files, plain Python for one transaction), proven equal."""
