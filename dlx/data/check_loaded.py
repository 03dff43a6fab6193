"""Check of what a data kind that is none of dlx's own loads: arrays, their dtypes and shapes, against its facts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..errors import DataError
from ..lazy import np
from ..plugins import called
from .base import Dataset, Facts, Sets, Split


def checked(data: Dataset, sets: Any) -> Sets:
    """Return what `data.load()` returned. DataError with all that is not as `Sets`, `Split` and its facts have it."""
    if not isinstance(sets, Sets):
        raise DataError(f"load() of {called(data)} returned {type(sets).__name__}, and no `Sets`")
    facts, wrong = data.facts(), []
    for name in ("train", "valid", "test"):
        part = getattr(sets, name)
        if part is None and name != "train":
            continue
        if not isinstance(part, Split):
            wrong.append(f"`{name}` is {type(part).__name__}, and no `Split`")
        elif not part.streams:
            wrong += [f"{what} of `{name}` {text}" for what, text in _mistakes(part, facts)]
    if wrong:
        raise DataError(*(f"load() of {called(data)}: {text}" for text in wrong))
    return sets


def _mistakes(part: Split, facts: Facts) -> Iterator[tuple[str, str]]:
    x, y = np.asarray(part.x), np.asarray(part.y)
    if facts.input.dtype == "float" and x.dtype != np.float32:
        yield "inputs", f"are {x.dtype}, and float32 is wanted"
    if x.shape[1:] != tuple(facts.input):
        yield "inputs", f"have the shape {x.shape[1:]} each, and facts() says {facts.input}"
    if len(x) != len(y):
        yield "targets", f"are {len(y):,}, and there are {len(x):,} inputs"
    classes = facts.classes
    wanted = np.dtype(np.int64 if classes is not None else np.float32)
    if y.dtype != wanted:
        kind = "class numbers" if classes is not None else "values"
        yield "targets", f"are {y.dtype}, and {wanted} is wanted for {kind}"
    elif classes is not None and facts.target is None and y.size and not 0 <= y.min() <= y.max() < classes:
        yield "targets", f"go from {y.min()} to {y.max()}, and facts() says {classes} classes"
    shape = tuple(facts.target) if facts.target is not None else ()
    if y.shape[1:] != shape:
        yield "targets", f"have the shape {y.shape[1:]} each, and facts() says {shape}"
