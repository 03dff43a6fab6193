"""Output for users: tables, errors and progress. The only package that imports rich."""
