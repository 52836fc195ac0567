"""Each figure that the documentation quotes, as a command."""
