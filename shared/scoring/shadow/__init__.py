"""Challengers: models in STAGING that score what the model in production has scored, off the request path."""
