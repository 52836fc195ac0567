"""Training a model again: assemble what labels have told, train, judge, promote."""
