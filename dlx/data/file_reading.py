"""Helpers for sources that read files: checks of paths, memory and values, and class numbers."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError, did_you_mean
from ..lazy import np
from ..shapes import Shape

if TYPE_CHECKING:
    import numpy.typing as npt

    from .base import Labels, Values


def existing(path: Path, folder: bool | None = None) -> Path:
    """Return the path if it exists.

    Raises:
        DataError: nothing is there; no folder, with `folder` true; or no file, with `folder` false.
    """
    try:
        there = path.exists()
    except OSError as error:  # a name that no file can have, a folder that may not be entered
        raise DataError(f"{path} cannot be read: {error.strerror}", hint="Check the path.") from None
    if not there:
        if not path.parent.is_dir():
            raise DataError(f"{path} does not exist, nor does its folder", hint="Check the path.")
        raise DataError(f"{path} does not exist", hint=similar_names(path))
    if not path.is_dir() and not path.is_file():
        raise DataError(f"{path} is neither a file nor a folder, but a pipe or a device", hint="Copy it to a file.")
    if folder is not None and path.is_dir() != folder:
        found, wanted = ("a file", "a folder") if folder else ("a folder", "a file")
        raise DataError(f"{path} is {found}, not {wanted}", hint="" if folder else files_inside(path))
    return path


def similar_names(path: Path) -> str:
    """Return a hint of files with a similar name in the folder of a path."""
    return did_you_mean(path.name, (p.name for p in path.parent.iterdir())) or "The folder is empty."


def files_inside(folder: Path) -> str:
    """Return a hint of the files in a folder."""
    names = sorted(p.name for p in folder.iterdir() if p.is_file())
    return f"Its files: {', '.join(names[:5])}{', ...' * (len(names) > 5)}." if names else "The folder has no files."


def check_memory(count: int, shape: Shape, way_out: str) -> None:
    """Raise a DataError if `count` inputs of `shape` as float32 exceed the free memory; `way_out` ends its hint."""
    import psutil

    needed, free = 4 * count * prod(shape), psutil.virtual_memory().available
    if needed > free:
        raise DataError(
            f"{count:,} inputs of shape {shape} take {gib(needed)} GiB as 32-bit numbers, "
            f"and {gib(free)} GiB of memory are free",
            hint=f"A data set is held in memory: {way_out}.",
        )


def check_file_size(path: Path) -> Path:
    """Return the path. DataError if the file is larger than the free memory."""
    import psutil

    size, free = path.stat().st_size, psutil.virtual_memory().available
    if size > free:
        raise DataError(
            f"{path} is a file of {gib(size)} GiB, and {gib(free)} GiB of memory are free",
            hint="A data set is held in memory: give a part of the file.",
        )
    return path


def gib(count: float) -> str:
    return f"{count / 2**30:,.1f}"


def exceeds_float32(dtype: np.dtype[Any]) -> bool:
    """Whether a type has values that float32 cannot represent exactly."""
    return (dtype.kind in "iu" and dtype.itemsize >= 4) or (dtype.kind == "f" and dtype.itemsize > 4)


def real_numbers(values: npt.NDArray[Any], where: str) -> Values:
    """Return the values as a contiguous float32 array, or float64 where their type has more digits.

    Raises:
        DataError: the values are not real numbers, or not finite in float32.
    """
    if values.dtype.kind not in "iubf":
        raise DataError(f"{where} holds {values.dtype}, and real numbers are wanted", hint="Save them as float32.")
    plain: Values = np.ascontiguousarray(values, np.float64 if exceeds_float32(values.dtype) else np.float32)
    with np.errstate(over="ignore"):
        finite = np.isfinite(plain.astype(np.float32, copy=False))
    if not finite.all():
        odd = values[~finite].reshape(-1)[0]
        raise DataError(
            f"{where} holds {int((~finite).sum()):,} values that are not finite in 32 bits, such as {odd}",
            hint="Take those examples out.",
        )
    return plain


def lost_distinctions(x: npt.NDArray[Any]) -> list[tuple[int, int, int]]:
    """Find columns of float64 inputs (n, d) whose different values become equal in float32.

    Returns triples of the column, its number of different values in float64, and in float32. A loss below 1 % is left
    out.
    """
    with np.errstate(over="ignore"):
        there, left = (_distinct(values) for values in (x, x.astype(np.float32)))
    return [(int(i), int(there[i]), int(left[i])) for i in np.flatnonzero(left < 0.99 * there)]


def _distinct(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Count the different values of each column."""
    ordered = np.sort(x, axis=0)
    steps: npt.NDArray[Any] = (ordered[1:] > ordered[:-1]).sum(0)
    return steps + 1


def class_numbers(values: npt.NDArray[Any], where: str) -> Labels:
    """Return class numbers, whole numbers from 0, as int64 (n,). DataError for anything else; `where` names the
    source.
    """
    plain = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if plain.ndim != 1:
        labels = plain.ndim > 1 and np.isin(plain, (0, 1)).all()
        raise DataError(
            f"{where} has the shape {shape_text(values)}, and class numbers are one a row",
            hint=SEVERAL_LABELS if labels else "Give one a row.",
        )
    if plain.dtype.kind not in "iub" and not (plain.dtype.kind == "f" and (plain == np.round(plain)).all()):
        odd = plain if plain.dtype.kind != "f" else plain[plain != np.round(plain)]
        raise DataError(f"{where} holds {odd[0]}, and classes are whole numbers", hint="Number the classes from 0.")
    if len(plain) and plain.max() >= MOST_CLASSES:
        raise DataError(
            f"{where} holds the class {plain.max():,}, and a network has an output for each class from 0 up to it",
            hint="Number the classes from 0, without gaps.",
        )
    if len(plain) and plain.min() < 0:
        raise DataError(f"{where} holds the class {plain.min()}, and classes count from 0", hint=FROM_0)
    return plain.astype(np.int64)


def example_weights(weights: Values, where: str) -> Values:
    """Return weights of examples (n,). DataError for negative ones, and where all are zero."""
    if not np.isfinite(weights).all():
        raise DataError(f"{where} has missing or infinite weights", hint="Give a number for each example.")
    if (weights < 0).any():
        raise DataError(f"{where} holds the weight {weights.min():g}, and weights are 0 or more")
    if not weights.any():
        raise DataError(f"{where} holds zeros alone: no example would count", hint="Give weights above 0.")
    return weights


ONE_LABEL = "`task: classification` takes whole numbers for classes, `task: regression` says that values are meant."
SEVERAL_LABELS = "`task: multilabel` takes several labels an example, `task: regression` says that values are meant."
MOST_CLASSES = 2**31
FROM_0 = "Number the classes from 0; -1 often stands for a label that is not known."


def shape_text(values: npt.NDArray[Any]) -> str:
    return f"{Shape(values.shape)}" if values.ndim else "of a single number"
