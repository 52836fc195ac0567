"""Months of predictions that leave the database for Blob, and come back when somebody asks for them."""
