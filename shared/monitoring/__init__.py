"""Monitoring: reference profiles, and what is compared with them."""
