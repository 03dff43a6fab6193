"""Texts as numbers: what a token is, and tokenizers that are trained once and kept."""

from .specials import BEGIN, END, PADDING, WithSpecials
from .tokenizer import Tokenizer, UnknownTextError
from .tokens import Tokens, kind_of, restored, trained

__all__ = [
    "BEGIN",
    "END",
    "PADDING",
    "Tokenizer",
    "Tokens",
    "UnknownTextError",
    "WithSpecials",
    "kind_of",
    "restored",
    "trained",
]
