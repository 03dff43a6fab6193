"""Texts as numbers: what a token is, and tokenizers that are trained once and kept."""

from .tokenizer import Tokenizer, UnknownTextError
from .tokens import Tokens, kind_of, restored, trained

__all__ = ["Tokenizer", "Tokens", "UnknownTextError", "kind_of", "restored", "trained"]
