"""Scoring: a transaction in, a score with its reasons out, stored before it is answered."""
