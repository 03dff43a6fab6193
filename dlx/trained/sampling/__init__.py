"""What trained networks make of themselves: texts, token by token."""
