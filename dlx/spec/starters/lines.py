"""Lines of the specs that `dlx new` writes for data."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from ...errors import DataError
from ..syntax.read import plain_scalar

WORDS = {"yes", "no", "on", "off", "y", "n", "true", "false", "null"}
"""Texts that some readers of YAML take for something else than a text."""
UPDATES = 1500
"""Updates that a training takes, about, where the data is small."""
SHARE = 0.15
"""Of the examples, what each part is that is held out."""
COMMENT = 36
"""Column at which comments begin."""


@dataclass(frozen=True)
class Draft:
    """A spec as text, and sentences about how it came about."""

    text: str
    notes: tuple[str, ...] = ()


def with_comment(line: str, comment: str) -> str:
    return f"{line.ljust(COMMENT - 2)}  # {comment}"


def quoted(text: str) -> str:
    """A text as a YAML scalar that every reader takes for that text; DataError for one that a spec cannot hold."""
    if "${" in text:
        raise DataError(f"`{one_line(text)}` holds `${{`, which a spec takes for arithmetic", hint="Rename it.")
    plain = re.fullmatch(r"(\.\./)*[A-Za-z_][\w./-]*", text, re.ASCII) and text.lower() not in WORDS
    return text if plain and isinstance(plain_scalar(text), str) else json.dumps(text)


def one_line(text: str) -> str:
    """A text for a comment: on one line, and not long."""
    text = "".join(c if c.isprintable() else " " for c in text)
    return text if len(text) <= 40 else f"{text[:37]}..."


def listing(texts: Sequence[str], most: int = 4) -> str:
    return ", ".join(one_line(text) for text in texts[:most]) + (", ..." if len(texts) > most else "")


def training_lines(examples: int, optimizer: str) -> Iterator[str]:
    batch = 16 if examples < 500 else 32 if examples < 5_000 else 128
    epochs = max(5, min(100, round(UPDATES * batch / max(examples, 1))))
    yield "train:"
    yield f"  epochs: {epochs}"
    yield f"  batch_size: {batch}"
    yield f"  optimizer: {optimizer}"
    yield "  schedule: cosine"


def held_out(count: int, parts: Sequence[str] = ("valid", "test")) -> list[str]:
    """Return the lines that hold parts out of `count` examples: a share, or one example where that is less than one.

    Two examples are all for the training.
    """
    part = SHARE if count * SHARE >= 1 else ceil(100 / max(count, 1)) / 100  # a count of 1 could be all of them too
    return [f"    {one}: {part}" for one in parts] if count > 2 else []
