"""A look at experiments from outside: analyses of networks, what is wrong before training, what data holds."""
