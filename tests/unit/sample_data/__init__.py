"""Tests of the sample transactions."""
