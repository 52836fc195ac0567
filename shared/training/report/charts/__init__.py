"""Charts of the training report: pure functions from data to SVG, without a plotting library."""
