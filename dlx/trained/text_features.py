"""Features of a text at each of its tokens, with which activations of a network are compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..lazy import np

if TYPE_CHECKING:
    import numpy.typing as npt

    Numbers = npt.NDArray[Any]

NAMES = (
    "quotes",
    "brackets",
    "line_position",
    "word_position",
    "word_begin",
    "letter",
    "vowel",
    "capital",
    "space",
    "punctuation",
)
"""The features, in the order of `_of_each`."""
FEWEST = 10
"""Tokens that must have a feature, and as many that must not, for a correlation with it to say anything."""
VOWELS = "aeiouAEIOU"


def features(pieces: Sequence[str]) -> dict[str, Numbers]:
    """Return the features (tokens,) that a text of some tokens has, by name; of a longer token as at its end.

    quotes, brackets: 1 inside double quotes, or round, square and curly brackets, the opening one included.
    line_position, word_position: characters since the last line break, and letters of the word so far.
    word_begin, letter, vowel, capital, space, punctuation: 1 where the character is that.
    A feature that fewer than `FEWEST` tokens have, or lack, is left out.
    """
    ends = np.cumsum([len(piece) for piece in pieces])
    table = np.array(list(_of_each("".join(pieces))), float).reshape(-1, len(NAMES))
    at = np.maximum(ends - 1, 0)
    found = {name: table[at, i] for i, name in enumerate(NAMES)} if len(table) else {}
    return {name: values for name, values in found.items() if FEWEST <= (values != 0).sum() <= len(at) - FEWEST}


def _of_each(text: str) -> Iterator[tuple[float, ...]]:
    """Yield the features of each character, in the order of `NAMES`."""
    quoted, depth, line, word = False, 0, 0, 0
    for character in text:
        closes = character == "\u201d" or (character == '"' and quoted)
        quoted = not closes and (quoted or character in '"\u201c')
        depth = max(0, depth + (character in "([{") - (character in ")]}"))
        line = 0 if character == "\n" else line + 1
        word = word + 1 if character.isalpha() else 0
        is_mark = not (character.isalnum() or character.isspace())
        yield (
            quoted,
            depth > 0,
            line,
            word,
            word == 1,
            character.isalpha(),
            character in VOWELS,
            character.isupper(),
            character.isspace(),
            is_mark,
        )


def correlations(activations: Numbers, values: Numbers) -> Numbers:
    """Return Pearson's correlation of each unit (tokens, units) with a feature (tokens,); 0 of what is constant."""
    units, feature = activations - activations.mean(0), values - values.mean()
    norms = np.sqrt((units**2).sum(0) * (feature**2).sum())
    found: Numbers = np.where(norms > 1e-12, units.T @ feature / np.maximum(norms, 1e-12), 0.0)
    return found
