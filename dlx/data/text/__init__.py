"""Texts as windows of tokens, for networks that tell the next one."""
