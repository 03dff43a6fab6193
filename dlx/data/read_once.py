"""Facts that take reading whole files, found once for the same source and the same files."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .known_facts import known_facts
from .preprocess import EARLIER_FIT
from .text.recorded import recorded_texts

if TYPE_CHECKING:
    from .base import Dataset, Facts

MOST = 32
"""Most facts that are remembered."""
MARGIN = 0.1
"""Seconds since the last change of a file, before which it may change again within the tick of its clock."""

_facts: OrderedDict[Hashable, Facts] = OrderedDict()
_read: dict[Hashable, Any] = {}


def facts_once(source: Dataset, files: Iterable[Path], read: Callable[[], tuple[Facts, Any]]) -> Facts:
    """Return the facts of a source, by `read` where they are not known for these files as they are now.

    `read` returns what it has read beside the facts, which `taken` returns to the next load. Facts of small files are
    known from earlier commands, too.
    """
    files = list(files)
    key = _key(source, files)
    if key is None:
        return read()[0]
    if key not in _facts:
        _read.clear()

        def reading() -> Facts:
            facts, _read[key] = read()
            return facts

        _facts[key] = known_facts(source, files, reading)
        if len(_facts) > MOST:
            _facts.popitem(last=False)
    _facts.move_to_end(key)
    return _facts[key]


def taken(source: Dataset, files: Iterable[Path]) -> Any:
    """Return what the facts were found from, and forget it: a load needs it once. None where it is not known."""
    return _read.pop(_key(source, files), None)


def _key(source: Dataset, files: Iterable[Path]) -> Hashable:
    """Return what facts depend on; None where a file has changed just now, or an earlier fit counts."""
    if EARLIER_FIT.get() is not None or recorded_texts():
        return None
    stamps: list[Hashable] = []
    for file in files:
        try:
            status = file.stat()
        except OSError:
            stamps.append((str(file),))
            continue
        if status.st_mtime > time.time() - MARGIN:
            return None
        stamps.append((str(file), status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size))
    kinds: list[Any] = [type(step) for step in getattr(source, "preprocess", ())]
    return (type(source), *kinds, repr(source), *stamps)
