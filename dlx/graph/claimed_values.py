"""What an exact claim gives as numbers: whether its samples fit the inputs, and its figure is one, without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..shapes import Shape
from ..spec.validation import shown

LARGEST_INT = 2**63 - 1


def by_input(at: Any, inputs: Mapping[str, Shape]) -> dict[str, Any]:
    """Return the samples `at` by input; those without a name are of the first one."""
    return at if isinstance(at, dict) else {next(iter(inputs)): at}


def unfit_samples(at: Any, inputs: Mapping[str, Shape]) -> str:
    """Return why the samples of a claim fit no input; empty where they do."""
    named = by_input(at, inputs)
    if named.keys() != inputs.keys():
        return f"`at` gives {', '.join(named) or 'nothing'}, and the inputs are {', '.join(inputs)}"
    for name, values in named.items():
        shape = inputs[name]
        if why := unfit_numbers(name, values, booleans=shape.dtype == "bool"):
            return why
        if shape.dtype == "int" and not all(one == int(one) and abs(one) <= LARGEST_INT for one in _leaves(values)):
            return f"`{name}` wants whole numbers, not {shown(values)}"
        sizes = _sizes(values) or ()
        is_batch = sizes[1:] == tuple(shape) and bool(sizes[:1]) and sizes[0] > 0
        if sizes and sizes != tuple(shape) and not is_batch:
            return f"`{name}` is {shape}, and `at` gives {sizes}"
    return ""


def unfit_numbers(name: str, values: Any, booleans: bool = True) -> str:
    """Return why values are no numbers in rows of one length, true and false only with `booleans`; else nothing."""
    if _sizes(values) is not None and (booleans or not any(isinstance(one, bool) for one in _leaves(values))):
        return ""
    return f"`{name}` wants numbers in rows of one length, not {shown(values)}"


def no_figure(quantity: str, values: Any) -> str:
    """Return why nothing that torch computes is the figure of an exact claim; empty where something may be."""
    if why := unfit_numbers("is", values):
        return why
    if quantity == "loss" and isinstance(values, list):
        return f"a loss is one number, and `is` gives {shown(values)}"
    if len({isinstance(one, bool) for one in _leaves(values)}) > 1:
        return f"`is` mixes numbers with true or false: {shown(values)}"
    return ""


def _leaves(values: Any) -> Iterator[Any]:
    for one in values if isinstance(values, list) else [values]:
        yield from _leaves(one) if isinstance(one, list) else [one]


def _sizes(values: Any) -> tuple[int, ...] | None:
    """Return the sizes of nested lists of numbers, () for a number; None where rows differ, or for anything else."""
    if not isinstance(values, list):
        return () if isinstance(values, int | float) else None
    inner = {_sizes(one) for one in values}
    if len(inner) > 1 or None in inner:
        return None
    return (len(values), *(inner.pop() or () if inner else ()))
