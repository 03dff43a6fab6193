"""Kinds that dlx does not ship, as another package brings them."""
