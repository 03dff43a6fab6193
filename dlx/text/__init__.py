"""Texts as numbers: what a token is, and tokenizers that are trained once and kept."""

from .specials import BEGIN, END, MASK, MASK_NAME, PADDING, WithSpecials
from .tokenizer import Tokenizer, UnknownTextError
from .tokens import Tokens, kind_of, restored, trained

__all__ = [
    "BEGIN",
    "END",
    "MASK",
    "MASK_NAME",
    "PADDING",
    "Tokenizer",
    "Tokens",
    "UnknownTextError",
    "WithSpecials",
    "kind_of",
    "restored",
    "trained",
]
