"""Facts of small CSV files of plain numbers and words, without the libraries that read any table.

To import NumPy and pyarrow takes as long as half of `dlx inspect`. What is not plain beyond doubt, or leads to a
warning or an error, is left to them; a property test holds what is found here against what they find.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ...shapes import Shape
from ..preprocess import EARLIER_FIT
from .cells import MISSING, MISSING_NUMBERS
from .column_uses import FEW, uses, written_alike
from .columns import Column
from .frame import Frame

if TYPE_CHECKING:
    from ..base import Facts
    from .table import Table

LARGEST = 2**16
"""Bytes of a file; to go through larger ones takes longer than to import what reads them quicker."""
OPTIONS = {"path", "target", "train", "valid", "test", "seed", "standardize", "folds", "fold"}
"""Fields of a table under which a column is what its texts are, and an input where it is not the target."""
NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)
NUMBER = re.compile(r"(?!(?:\D*\d){7})-?(?:0|[1-9]\d*)(?:\.\d+)?", re.ASCII)
"""A number of at most six digits, which single precision tells from all others of them."""
WORD = re.compile(r"[A-Za-z]+(?:[-_][A-Za-z]+)*")
OTHERS = {text.lower() for text in (*MISSING, *MISSING_NUMBERS)} | {"true", "false", "inf", "infinity"}
"""Words that are no names of categories, in any case."""


def plain_facts(table: Table) -> Facts | None:
    """Return the facts of a table whose file is plain; None where it has to be read as any other."""
    if EARLIER_FIT.get() is not None or not table.model_fields_set <= OPTIONS or table.path.suffixes != [".csv"]:
        return None
    names, rows = _cells(table)
    if not rows or table.target not in names or len(names) < 2:
        return None
    found = [_column(name, texts) for name, texts in zip(names, zip(*rows, strict=True), strict=True)]
    columns = [column for column in found if column is not None and column.name != table.target]
    goal = found[names.index(table.target)]
    if None in found or goal is None:
        return None
    if goal.sort == "number" and {float(row[names.index(table.target)]) for row in rows} <= {0, 1}:
        return None  # labels, which a warning is about
    frame = Frame(table.path, None, why=dict.fromkeys(names, ""), every=tuple(names))
    shape, (examples, *_) = Shape((sum(column.width for column in columns),)), table.part_sizes(len(rows))
    if goal.sort == "number":
        facts = table.facts_of(shape, target=Shape((1,)), examples=examples)
    else:
        facts = table.facts_of(shape, classes=len(goal.texts), examples=examples)
    return replace(facts, columns=uses(table, frame, columns, goal if goal.sort == "category" else None))


def _cells(table: Table) -> tuple[list[str], list[list[str]]]:
    """Return the names of the columns and the texts of each row; none where the file is larger, or not plain."""
    try:
        content = table.path.read_bytes() if table.path.is_file() and table.path.stat().st_size <= LARGEST else b""
    except OSError:
        return [], []
    if not content.isascii():
        return [], []
    names, *rows = (line.split(",") for line in content.decode().removesuffix("\n").split("\n"))
    plain = all(NAME.fullmatch(name) and name.lower() not in OTHERS for name in names)
    if not plain or len(set(names)) < len(names) or any(len(row) != len(names) for row in rows):
        return [], []
    return names, rows


def _column(name: str, texts: Sequence[str]) -> Column | None:
    """Return the encoding of a column of numbers or of a few different words; None for any other."""
    if all(map(NUMBER.fullmatch, texts)):
        return Column(name, "number")
    different = sorted(set(texts))
    if len(different) > FEW or written_alike(different):
        return None
    plain = all(WORD.fullmatch(text) and text.lower() not in OTHERS for text in different)
    return Column(name, "category", tuple(different)) if plain else None
