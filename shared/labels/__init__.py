"""What turned out to be fraud: labels, their history, and those that wait for their transaction."""
