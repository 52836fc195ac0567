"""Tests of what sets up and starts a local run, without starting services."""
