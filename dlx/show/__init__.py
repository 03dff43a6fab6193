"""What a person sees: the one room where rich lives."""
