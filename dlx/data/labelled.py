"""The field `labelled` of data sets: few training examples keep their class, as where labels are dear."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt

from ..errors import DataError, plural
from ..registry import Declared
from .base import Dataset, Sets
from .streaming import Streamed

NONE = -100
"""The class number of an example without a label: torch's `ignore_index`."""


class Labelled(Declared):
    """Keep the classes of the first examples of the training part; the other parts keep all of theirs.

    The other training examples have the class number -100, or are dropped: an earlier stage that learns from the
    labelled ones alone then has the same parts as one that reads all.
    Errors: more than there are; targets that are not one class an example.
    """

    count: PositiveInt = Field(description="how many training examples keep their class, the first ones")
    others: Literal["keep", "drop"] = Field("keep", description="the others stay, with the class number -100, or go")


Labelled.kind = "labelled"  # not in the class, which would make it a data set that a spec can name

LabelledField = Annotated[
    Labelled | None, Field(description="how many of the training examples keep their class; null: all")
]


def with_labelled(sets: Sets, data: Dataset) -> Sets:
    """Return the data with the classes of the training examples that are `labelled` alone, and a note.

    Raises:
        DataError: more than there are, or targets that are not one class an example.
    """
    labelled: Labelled | None = getattr(data, "labelled", None)
    if labelled is None:
        return sets
    facts, total, count = data.facts(), len(sets.train), labelled.count
    if facts.classes is None or tuple(facts.target or ()) or len(facts.targets) != 1:
        raise DataError(
            "`labelled` is of data with one class an example, and this has other targets", hint="Drop it."
        )
    classes: Any = sets.train.y
    if isinstance(classes, Streamed):
        raise DataError("`labelled` changes classes in memory, and these stay on disk", hint="Drop it.")
    if count > total:
        message = f"`labelled` keeps the classes of {count:,} examples, and the training part has {total:,}"
        raise DataError(message, hint=f"Give {total:,} at most.")
    note = f"labelled: {count:,} of {plural(total, 'training example')}; the others "
    if labelled.others == "drop":
        return replace(sets, train=sets.train.take(slice(count)), notes=(*sets.notes, f"{note}are dropped"))
    y = classes.copy()
    y[count:] = NONE
    return replace(sets, train=replace(sets.train, y=y), notes=(*sets.notes, f"{note}have no class"))
