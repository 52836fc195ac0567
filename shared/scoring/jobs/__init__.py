"""Whole files as durable jobs: CSV or Parquet in, scored Parquet out, predictions stored."""
