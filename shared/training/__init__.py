"""Training: from a feature set to a model with a threshold, figures on later data, and verified artifacts."""
