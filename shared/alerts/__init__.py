"""Alerts: what somebody should look at."""
