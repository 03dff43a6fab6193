"""Facts of small files in the cache folder, by the content of the files: to read a table takes libraries that
`dlx inspect` does without.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from hashlib import sha256
from importlib.util import find_spec
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError, Problem
from ..shapes import Shape
from ..utils import files
from .base import ColumnUse, Facts, Field
from .cache import cache_folder

if TYPE_CHECKING:
    from .base import Dataset

LARGEST = 2**24
"""Bytes of all files of a source together, up to which their content is compared with that of the last time."""
MOST = 256
"""Facts in the folder; the older half of them is dropped where there are more."""
SIMPLE = ("input_name", "target_name", "classes", "vocabulary", "labels", "examples")
CODE = sorted(Path(__file__).parent.rglob("*.py"))


def known_facts(source: Dataset, paths: Iterable[Path], read: Callable[[], Facts]) -> Facts:
    """Return the facts of a source whose files have this content, from the cache folder or else by `read`."""
    paths = list(paths)
    before = _name(source, paths)
    if before is None:
        return read()
    try:
        folder = cache_folder() / "facts"
    except DataError:  # there is no home folder
        return read()
    with suppress(OSError, ValueError, KeyError, TypeError):
        return from_json(json.loads((folder / before).read_text()))
    facts = read()
    if _is_simple(facts) and _name(source, paths) == before:  # not changed while they were read
        with suppress(OSError, TypeError):  # where nothing can be kept they are read again
            text = json.dumps(as_json(facts), default=index)  # whole numbers of numpy
            folder.mkdir(parents=True, exist_ok=True)
            _make_room(folder)
            files.replace(folder / before, text.encode())
    return facts


def _name(source: Dataset, paths: Sequence[Path]) -> str | None:
    """Return the name of the file of these facts, of all that they depend on; None where files are many or large."""
    kinds = [type(source), *map(type, getattr(source, "preprocess", ()))]
    if not all(kind.__module__.startswith("dlx.") for kind in kinds):
        return None  # the code of a plugin may read anything
    try:
        if sum(path.stat().st_size for path in paths) > LARGEST:
            return None
        digests = [sha256(path.read_bytes()).hexdigest() for path in paths]
    except OSError:
        return None
    key = [[kind.__qualname__ for kind in kinds], repr(source), [str(path) for path in paths], digests, _versions()]
    return sha256(json.dumps(key).encode()).hexdigest()[:32] + ".json"


def _versions() -> list[Any]:
    """Return what tells versions apart of what reads files: Python, the libraries, and the code of this room."""
    libraries = [find_spec(name) for name in ("numpy", "pyarrow")]
    read_by = [Path(one.origin) for one in libraries if one is not None and one.origin is not None]
    stamps = [(str(path), (status := path.stat()).st_mtime_ns, status.st_size) for path in (*read_by, *CODE)]
    return [sys.version, *stamps]


def _make_room(folder: Path) -> None:
    """Drop the older half of the facts where there are too many."""
    entries = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    for path in entries[: len(entries) // 2] if len(entries) >= MOST else ():
        with suppress(OSError):
            path.unlink()


def _is_simple(facts: Facts) -> bool:
    """Whether facts are numbers and names alone: no texts, and no warnings about a place in a spec."""
    fields = facts.more.values()
    about = any(problem != Problem(problem.message, problem.hint) for problem in facts.warnings)
    return not (facts.texts or about or any(field.text is not None for field in fields))


def as_json(facts: Facts) -> dict[str, Any]:
    """Return facts as JSON values."""
    return {
        **{name: getattr(facts, name) for name in SIMPLE},
        "input": _shape(facts.input),
        "target": _shape(facts.target),
        "class_names": facts.class_names,
        "columns": [[one.name, one.taken_for, one.inputs, one.because, one.of_field] for one in facts.columns],
        "warnings": [[one.message, one.hint] for one in facts.warnings],
        "more": {name: [_shape(one.shape), one.role, one.classes, one.names] for name, one in facts.more.items()},
    }


def from_json(document: dict[str, Any]) -> Facts:
    """Return the facts of JSON values."""
    shape = _read_shape(document["input"])
    assert shape is not None
    return Facts(
        shape,
        target=_read_shape(document["target"]),
        columns=tuple(ColumnUse(*one) for one in document["columns"]),
        warnings=tuple(Problem(*one) for one in document["warnings"]),
        more={
            name: Field(_read_shape(shape) or Shape(), role, classes, tuple(names))
            for name, (shape, role, classes, names) in document["more"].items()
        },
        class_names=tuple(document["class_names"]),
        **{name: document[name] for name in SIMPLE},
    )


def _shape(shape: Shape | None) -> list[Any] | None:
    return None if shape is None else [list(shape), shape.dtype]


def _read_shape(value: list[Any] | None) -> Shape | None:
    return None if value is None else Shape(*value)
