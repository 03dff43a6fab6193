"""Inputs from memory that come after training: arrays, tensors, nested lists, and columns of a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..errors import DataError
from ..lazy import np
from ..shapes import Shape
from .new_inputs import NewInputs, scaled, shaped
from .tables.frame import Frame, framed

if TYPE_CHECKING:
    from .base import Values

INPUTS: Final = Path("<inputs>")
"""Stands for a path in messages about inputs that have no file."""


@dataclass(frozen=True)
class Columns:
    """Columns by name, as pyarrow's table; `names` are the labels of the rows, if they have any."""

    table: Any
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class FieldInputs:
    """Arrays of several inputs by the names of their fields, (n, *shape) each."""

    arrays: Mapping[str, Values]


def read(inputs: Any) -> Columns | FieldInputs | Values:
    """Return a DataFrame or a mapping of columns as columns, a mapping of arrays of several axes as fields, and
    anything else as an array. DataError where it is none of them.
    """
    if isinstance(inputs, Mapping) and any(len(getattr(one, "shape", ())) > 1 for one in inputs.values()):
        return FieldInputs({str(name): _array(one, f"`{name}` of {INPUTS}") for name, one in inputs.items()})
    if isinstance(inputs, Mapping) or hasattr(inputs, "__arrow_c_stream__"):
        return _columns(inputs)
    return _array(inputs, str(INPUTS))


def _array(inputs: Any, where: str) -> Values:
    """Return an array, a tensor or nested lists as an array of real numbers."""
    if hasattr(inputs, "detach"):  # of torch, maybe with a gradient, on another device, in a type that NumPy lacks
        tensor = inputs.detach().cpu()
        inputs = tensor.float().numpy() if str(tensor.dtype) == "torch.bfloat16" else tensor.numpy()
    try:
        array = np.asarray(inputs)
    except ValueError as error:
        raise DataError(f"{where} are no array: {error}", hint="Give rows of one length.") from None
    if array.dtype.kind not in "iubf":
        raise DataError(f"{where} hold {array.dtype}, and real numbers are wanted", hint="Give numbers.")
    return array


def _columns(inputs: Any) -> Columns:
    import pyarrow as pa

    index = getattr(inputs, "index", None)
    try:
        table = pa.table(dict(inputs)) if isinstance(inputs, Mapping) else pa.table(inputs)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(f"{INPUTS} are no table: {error}", hint="Give columns of one type and one length.") from None
    labels = () if index is None or type(index).__name__ == "RangeIndex" else index
    return Columns(table, tuple(map(str, labels)))


def values_of(inputs: Columns | Values) -> Values:
    """Return inputs as an array; columns as (n, columns). DataError where a column is not numeric."""
    if not isinstance(inputs, Columns):
        return inputs
    frame = framed(INPUTS, inputs.table)
    return np.stack([frame.numbers(name) for name in frame.names], axis=1)


def array_of(inputs: Columns | Values, raw: Shape) -> NewInputs:
    """Return inputs of shape `raw`; unsigned bytes are divided by 255. DataError for another shape."""
    return NewInputs(shaped(scaled(values_of(inputs), INPUTS), raw, INPUTS))


def frame_of(inputs: Columns | Values) -> Frame:
    """Return inputs as the rows of a table. DataError for an array, whose columns have no names."""
    if not isinstance(inputs, Columns):
        message = f"{INPUTS} hold an array of shape {Shape(inputs.shape)}, and the network was trained on a table"
        raise DataError(message, hint="Give its columns: a DataFrame, or a mapping of columns by name.")
    return framed(INPUTS, inputs.table)
