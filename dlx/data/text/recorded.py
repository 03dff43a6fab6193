"""The tokenizer that a run has kept, which its data takes wherever the run goes on or is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from ...errors import DataError
from ...text import Tokenizer, restored
from ..preprocess import EARLIER_FIT

_RECORDED: ContextVar[Mapping[str, Any] | None] = ContextVar("recorded", default=None)
"""What a run needs to read its texts."""


@contextmanager
def reading_of_run(reading: Mapping[str, Any]) -> Iterator[None]:
    """Context in which texts are encoded by the tokenizer of a run, whose `reading` this is."""
    token = _RECORDED.set(reading)
    try:
        yield
    finally:
        _RECORDED.reset(token)


def recorded_tokenizer(reading: Mapping[str, Any] | None = None, *, ask_context: bool = True) -> Tokenizer | None:
    """Return the tokenizer in `reading`, else that of the run that goes on or is asked; None where there is none."""
    earlier = EARLIER_FIT.get() if ask_context else None
    known = reading or (earlier.reading if earlier is not None else _RECORDED.get() if ask_context else None) or {}
    if "tokenizer" not in known:
        return None
    try:
        return restored(known["tokenizer"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"the tokenizer of the run is damaged: {error}", hint="Train anew.") from None


def recorded_texts() -> Mapping[str, Any]:
    """Return the text fields of the run that goes on or is asked, as JSON values; empty where it has none."""
    earlier = EARLIER_FIT.get()
    known = (earlier.reading if earlier is not None else _RECORDED.get()) or {}
    found: Mapping[str, Any] = known.get("texts", {})
    return found
