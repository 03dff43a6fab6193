"""Texts that a language model makes token by token, after a training or at stages of it."""
