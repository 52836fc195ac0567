"""Triggers: parse, call one service, render. No SQL and no decision lives here."""
