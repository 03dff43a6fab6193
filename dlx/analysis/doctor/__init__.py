"""Checks of a spec before it is trained (`dlx doctor`)."""
