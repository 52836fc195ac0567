"""The drift report of a model: one HTML file that needs nothing else."""
