"""Inputs that come after training, for a decoder that has written nothing yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..arrays.array_files import READERS
from ..new_inputs import NewInputs, arrays, by_name, of_fields, read
from ..python_inputs import INPUTS
from .fields import text_fields

if TYPE_CHECKING:
    from ..base import Values
    from ..input_record import InputRecord


def with_begun_texts(path: Path, record: InputRecord) -> NewInputs:
    """Read the inputs of a network by their names, pictures alone from a folder too. DataError where one is missing.

    What is shifted from a target is no part of a file: it begins with `<begin>`, and has nothing behind it.
    """
    main, from_file = record.facts.input_name, record.arrays
    if len(from_file) > 1:
        found = by_name(path, from_file, main)
    else:
        found = arrays(path, record.raw, main) if path.suffix in READERS else read(path, record.raw)
    return _begun(found, record)


def with_begun_texts_of(by_field: Mapping[str, Values], record: InputRecord) -> NewInputs:
    """Return the inputs of a network from arrays by name, as `with_begun_texts` does from a file."""
    return _begun(of_fields(by_field, record.arrays, record.facts.input_name, INPUTS), record)


def _begun(found: NewInputs, record: InputRecord) -> NewInputs:
    texts, fields = record.facts.texts, text_fields(record.reading)
    written = {name: texts[name].shifted for name in record.raw_more if name not in record.arrays}
    begun = {name: fields[target].begun(len(found.x)) for name, target in written.items()}
    return replace(found, more={**found.more, **begun})
