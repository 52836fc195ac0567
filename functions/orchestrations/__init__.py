"""Durable orchestrations, each with its activities."""
