"""The model registry: lifecycle, baselines, promotion, and which model was in production when."""
