"""Some classes of a source: which they are, and the examples of them, numbered anew in the order of the spec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from ..errors import DataError, did_you_mean
from ..lazy import np

if TYPE_CHECKING:
    from .base import Labels
    from .splits import Indices

Number = Annotated[int, Field(ge=0)]


def _each_once(classes: list[int | str]) -> list[int | str]:
    twice = next((one for one in classes if classes.count(one) > 1), None)
    if twice is not None:
        raise ValueError(f"`classes` has {twice} twice: give each once")
    return classes


ClassNumbers = Annotated[
    list[Number],
    Field(min_length=2),
    AfterValidator(_each_once),
]
ClassList = Annotated[
    list[Number | str],
    Field(min_length=2),
    AfterValidator(_each_once),
]


def numbers_of(classes: Sequence[int | str], count: int, names: Sequence[str], where: str) -> list[int]:
    """Return the number of each class in the source, which has `count` of them, with `names` where they are known.

    Errors: DataError for a class that it does not have, or one that is there by number and by name.
    """
    found = []
    for one in classes:
        if isinstance(one, str) and one not in names:
            hint = did_you_mean(one, names, "the classes") if names else f"Give numbers from 0 to {count - 1}."
            raise DataError(f"{where} has no class `{one}`, which `classes` names", hint=hint)
        number = names.index(one) if isinstance(one, str) else one
        if number >= count:
            message = f"{where} has no class {number}, which `classes` names: there are {count:,}, from 0 on"
            raise DataError(message)
        if number in found:
            raise DataError(f"`classes` names the class {number} of {where} by number and by name")
        found.append(number)
    return found


def chosen(y: Labels, numbers: Sequence[int]) -> tuple[Indices, Labels]:
    """Return the rows of the chosen classes among class numbers (n,), and the place of each in `numbers`."""
    place = np.full(max(int(y.max(initial=0)), *numbers) + 1, -1)
    place[list(numbers)] = np.arange(len(numbers))
    rows = np.flatnonzero(place[y] >= 0)
    return rows, place[y[rows]]
