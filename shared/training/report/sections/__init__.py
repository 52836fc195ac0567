"""The sections of the report: each a pure function from its subject to markup."""
