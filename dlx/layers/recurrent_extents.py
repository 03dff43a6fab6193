"""Inputs of recurrent layers that say where texts end, and documents begin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from ..errors import ShapeError
from ..shapes import Shape

EXTENTS: Final = ("lengths", "document")
WANTS: Final = {
    "lengths": ("a whole number, how many of the steps are real", "length", "shape: [1]"),
    "document": ("a whole number for each step", "document", "shape: [{steps}]"),
}
"""What each is, the result of a text that is it, and the shape to declare."""


class _Named(Protocol):
    """A layer with named inputs."""

    @property
    def kind(self) -> str: ...
    @property
    def input_names(self) -> tuple[str, ...]: ...
    @property
    def takes(self) -> Sequence[str] | None: ...


def extents_of(layer: _Named, xs: Sequence[Shape]) -> dict[str, int]:
    """Return the indices of `lengths` and `document` among the inputs, where they are given.

    Raises:
        ShapeError: the names do not fit the inputs.
    """
    names = tuple(layer.takes or layer.input_names[: len(xs)])
    hint = "Name them: `from: {input: x, lengths: text.length}`."
    if len(names) != len(xs) or names[0] != "input":
        raise ShapeError(f"{layer.kind} takes {', '.join(names)}, and is given {len(xs)} inputs", hint, xs)
    if "c_0" in names and "h_0" not in names:
        raise ShapeError(f"{layer.kind} takes cells to begin at, `c_0`, only beside a state, `h_0`", hint, xs)
    return {name: i for i, name in enumerate(names) if name in EXTENTS}


def check_extents(kind: str, extents: Mapping[str, int], xs: Sequence[Shape]) -> None:
    """Raise a ShapeError for lengths that are not one whole number, or documents that are not one for each step."""
    steps = xs[0][0]
    for name, i in extents.items():
        fits = tuple(xs[i]) in ((), (1,)) if name == "lengths" else tuple(xs[i]) == (steps,)
        if fits and xs[i].dtype == "int":
            continue
        wants, result, shape = WANTS[name]
        raise ShapeError(
            f"the {name} of {kind}, {{{i}}} of dtype {xs[i].dtype}, should be {wants}",
            hint=f"Declare the input as `{{{shape.format(steps=steps)}, dtype: int}}`; a text has `NAME.{result}`.",
            inputs=xs,
        )
