"""Inputs that come after training, for a decoder that has written nothing yet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..arrays.array_files import READERS
from ..new_inputs import NewInputs, arrays, by_name, read
from .fields import text_fields

if TYPE_CHECKING:
    from ..input_record import InputRecord


def with_begun_texts(path: Path, record: InputRecord) -> NewInputs:
    """Read the inputs of a network by their names, pictures alone from a folder too. DataError where one is missing.

    What is shifted from a target is no part of a file: it begins with `<begin>`, and has nothing behind it.
    """
    main, texts = record.facts.input_name, record.facts.texts
    shapes = {main: record.raw, **record.raw_more}
    written = {name: texts[name].shifted for name in shapes if name in texts and texts[name].shifted}
    from_file = {name: shape for name, shape in shapes.items() if name not in written}
    if len(from_file) > 1:
        found = by_name(path, from_file, main)
    else:
        found = arrays(path, record.raw, main) if path.suffix in READERS else read(path, record.raw)
    fields = text_fields(record.reading)
    begun = {name: fields[target].begun(len(found.x)) for name, target in written.items()}
    return replace(found, more={**found.more, **begun})
