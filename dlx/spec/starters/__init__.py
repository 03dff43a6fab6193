"""Specs to begin with: `dlx new`, its starters, and specs that fit a file of data."""
