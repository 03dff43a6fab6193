"""Pairs and triplets of handwritten digits, for networks that learn a distance."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveInt

from ...errors import DataError
from ...lazy import np
from ..base import Facts, Sets, Split
from ..base import Field as DataField
from ..splits import digest
from .digits import Digits

if TYPE_CHECKING:
    from ..base import Labels
    from ..splits import Indices

STREAM = 1
"""Random stream of the pairs; the split of the examples is drawn from the seed alone."""


class DigitTuples(Digits):
    """Base class of examples of several digits of one part; pictures are prepared before they are joined."""

    per_digit: PositiveInt = Field(1, description="examples that begin with a picture, of each of their two classes")

    inputs: ClassVar[tuple[str, ...]] = ()
    """Names of the pictures of an example."""
    target: ClassVar[str] = ""
    names: ClassVar[tuple[str, str]] = ("", "")
    """Names of the two classes."""

    def tuples(self, y: Labels, rng: np.random.Generator) -> tuple[list[Indices], Labels]:
        """Return the places of the pictures in a part, by `inputs`, and the classes; `y` are the digits."""
        raise TypeError(f"{type(self).__name__} has no tuples()")

    def facts(self) -> Facts:
        one = super().facts()
        first, *others = self.inputs
        more = {name: DataField(one.input) for name in others}
        return Facts(
            one.input, classes=2, more=more, input_name=first, target_name=self.target, class_names=self.names
        )

    def load(self) -> Sets:
        sets = super().load()
        held = (("valid", sets.valid, 1), ("test", sets.test, 2))
        train = self._joined("train", sets.train, 0)
        valid, test = (part and self._joined(name, part, stream) for name, part, stream in held)
        further = dict.fromkeys(self.inputs[1:], sets.preprocess) if sets.preprocess else {}
        return replace(
            sets,
            train=train,
            valid=valid,
            test=test,
            digest=digest((train, valid, test)),
            class_names=self.names,
            fields=self.facts().fields,
            preprocess_more=further,
        )

    def _joined(self, name: str, part: Split, stream: int) -> Split:
        _, counts = np.unique(part.y, return_counts=True)
        if len(counts) < 2 or counts.min() < 2:
            raise DataError(
                f"the part `{name}` has {len(part):,} digits, and {self.kind} needs two of each of two classes",
                hint="Ask for a larger part, or for fewer `classes`.",
            )
        (first, *others), y = self.tuples(part.y, np.random.default_rng([self.seed, STREAM, stream]))
        return Split(part.x[first], y, more={n: part.x[at] for n, at in zip(self.inputs[1:], others, strict=True)})


class DigitPairs(DigitTuples):
    """Pairs of handwritten digits, and whether both are the same digit, for Siamese networks.

    The pictures are split into parts first, as `digits` splits them: no picture of a pair of the test is in a pair of
    the training. In each part every picture is `left` of as many pairs with another picture of its digit as with one
    of another digit, so that half of the pairs are the same.

    Shapes: inputs left and right (1, 8, 8), ink from 0 to 1 in sixteenths; target same, 1 for the same digit and 0
        for two.
    Errors: those of `digits`; a part that has fewer than two pictures of a digit, or one digit alone.
    Source: that of `digits`; pairs as in Hadsell, Chopra & LeCun 2006, Dimensionality reduction by learning an
        invariant mapping, section 3.
    """

    kind: ClassVar[str] = "digit_pairs"
    inputs: ClassVar[tuple[str, ...]] = ("left", "right")
    target: ClassVar[str] = "same"
    names: ClassVar[tuple[str, str]] = ("different", "same")

    def tuples(self, y: Labels, rng: np.random.Generator) -> tuple[list[Indices], Labels]:
        left = np.tile(np.arange(len(y)), 2 * self.per_digit)
        same = np.repeat(np.array([1, 0]), len(left) // 2)
        halves = np.split(left, 2)
        right = np.concatenate([partners(y, halves[0], True, rng), partners(y, halves[1], False, rng)])
        return [left, right], same.astype(np.int64)


class DigitTriplets(DigitTuples):
    """A handwritten digit and two others, of which one is the same digit, for triplet losses.

    The pictures are split into parts first, as `digits` splits them. In each part every picture is `anchor` of as
    many triplets in which the first of the others is its digit as of those in which the second is. Scores -d of the
    two distances with the loss `hinge` are trained by the triplet loss max(0, d_positive - d_negative + margin).

    Shapes: inputs anchor, first and second (1, 8, 8), ink from 0 to 1 in sixteenths; target nearer, 0 where the first
        is the same digit as the anchor and 1 where the second is.
    Errors: those of `digits`; a part that has fewer than two pictures of a digit, or one digit alone.
    Source: that of `digits`; triplets as in Schroff, Kalenichenko & Philbin 2015, FaceNet, arXiv:1503.03832, section
        3.1.
    """

    kind: ClassVar[str] = "digit_triplets"
    inputs: ClassVar[tuple[str, ...]] = ("anchor", "first", "second")
    target: ClassVar[str] = "nearer"
    names: ClassVar[tuple[str, str]] = ("first", "second")

    def tuples(self, y: Labels, rng: np.random.Generator) -> tuple[list[Indices], Labels]:
        anchor = np.tile(np.arange(len(y)), 2 * self.per_digit)
        positive, negative = partners(y, anchor, True, rng), partners(y, anchor, False, rng)
        nearer = np.repeat(np.array([0, 1]), len(anchor) // 2)
        first = np.where(nearer == 0, positive, negative)
        second = np.where(nearer == 0, negative, positive)
        return [anchor, first, second], nearer.astype(np.int64)


def partners(y: Labels, of: Indices, same: bool, rng: np.random.Generator) -> Indices:
    """Draw for each example of the indices `of` another one of its class, or one of another class, uniformly.

    `y` (n,) are the classes; each class that is there has two examples or more, and there are two classes.
    """
    order = np.argsort(y, kind="stable")  # classes one after the other
    place = np.empty_like(order)
    place[order] = np.arange(len(y))
    begin = np.searchsorted(y[order], y[of], "left")
    size = np.searchsorted(y[order], y[of], "right") - begin
    draw = rng.uniform(size=len(of))
    if same:
        step = 1 + np.floor(draw * (size - 1)).astype(np.int64)  # from the example itself on, around the class
        found = begin + (place[of] - begin + step) % size
    else:
        step = np.floor(draw * (len(y) - size)).astype(np.int64)
        found = (begin + size + step) % len(y)
    chosen: Indices = order[found]
    return chosen
