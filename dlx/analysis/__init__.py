"""A look at experiments from outside: what is wrong before training."""
