"""Examples with missing values, for objectives that fill them in."""

from __future__ import annotations

import csv
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data.arrays.array_files import open_array
from ...data.file_reading import existing
from ...data.new_inputs import named
from ...errors import DlxError, first_line
from ...lazy import np, torch

if TYPE_CHECKING:
    from torch import Tensor

    from ...shapes import Shape

FILES = (".csv", ".npy", ".npz")
EMPTY = ("", "nan", "na")
"""Cells of a table that say a value is missing."""


def examples(known: Any, shape: Shape) -> Tensor:
    """Return examples (n, *shape) of a file or an array, NaN where a value is missing.

    A .csv has a line an example, its values as they lie in memory, with or without a line of titles; a .npz one array
    or one called `x`. DlxError for other shapes, for what is no number, and where nothing is missing.
    """
    name = str(known) if isinstance(known, str | Path) else "what is given"
    found = torch.from_numpy(values_of(known, shape).astype(np.float32))
    if not len(found) or not found.isnan().any():
        raise DlxError(
            f"in {name} nothing is missing", hint="Leave a cell empty, or write NaN, for each value to draw."
        )
    return found


def values_of(known: Any, shape: Shape) -> Any:
    """Return numbers (n, *shape) of a file or an array, NaN where a cell is empty. DlxError for other shapes."""
    name = str(known) if isinstance(known, str | Path) else "what is given"
    values = _read(Path(known)) if isinstance(known, str | Path) else np.asarray(known)
    if values.dtype.kind not in "iufb":
        raise DlxError(f"{name} holds {values.dtype}, and numbers are wanted", hint="Save them as float32.")
    rows, sizes = ", ".join(map(str, ("n", *shape))), tuple(values.shape)
    if sizes == tuple(shape):
        values = values[None]
    elif len(sizes) == 2 and sizes[1] == prod(shape):
        values = values.reshape(-1, *shape)
    elif sizes[1:] != tuple(shape):
        message = f"{name} has the shape ({', '.join(map(str, sizes))}), and an example of the run has {shape}"
        raise DlxError(message, hint=f"Give ({rows}), or n lines of {prod(shape):,} values.")
    return values


def _read(path: Path) -> Any:
    if path.suffix not in FILES:
        ends = path.suffix or "nothing"
        raise DlxError(
            f"{path} ends in {ends}", hint=f"Examples with missing values are read from {', '.join(FILES)}."
        )
    if path.suffix != ".csv":
        return open_array(path, named(existing(path, folder=False), "x")).read()
    try:
        with existing(path, folder=False).open(newline="", encoding="utf-8-sig") as file:
            lines = [(i, one) for i, one in enumerate(csv.reader(file), 1) if one]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DlxError(f"{path} cannot be read: {first_line(error)}") from None
    if lines and not any(_is_value(cell) for cell in lines[0][1]):
        lines = lines[1:]
    return _numbers(path, lines)


def _numbers(path: Path, lines: list[tuple[int, list[str]]]) -> Any:
    """Return the cells of numbered lines (n, values). DlxError for lines of several lengths, and for texts."""
    for i, cells in lines:
        if len(cells) != len(lines[0][1]):
            message = f"{path}:{i} has {len(cells):,} cells, and line {lines[0][0]} has {len(lines[0][1]):,}"
            raise DlxError(message, hint="Give each example as many; one that is missing is empty.")
        if odd := [cell for cell in cells if not _is_value(cell)]:
            raise DlxError(f"{path}:{i} has {odd[0]!r}, which is no number", hint="A missing value is empty or NaN.")
    each = [[np.nan if cell.strip().lower() in EMPTY else float(cell) for cell in cells] for _, cells in lines]
    return np.array(each, np.float64)


def _is_value(cell: str) -> bool:
    """Whether a cell is a number, or empty."""
    try:
        return cell.strip().lower() in EMPTY or float(cell) is not None
    except ValueError:
        return False
