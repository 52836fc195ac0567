"""Checks of the Bicep files that need no Azure: syntax, names, parameters, properties, security, settings."""
