"""What happened before a transaction: events, windows over them, and three executors of one definition."""
