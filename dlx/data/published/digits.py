"""Handwritten digits that come with the package: real data without a download."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from ...lazy import np
from ...shapes import Shape
from ..base import Facts, Sets
from ..class_subset import chosen
from ..splits import Pool, Stratify, TestPart, ValidPart

if TYPE_CHECKING:
    import numpy.typing as npt

    Bytes = npt.NDArray[Any]

FILE = Path(__file__).with_name("digits.npz")
NAMES = tuple("0123456789")


COUNTS = (178, 182, 177, 183, 181, 182, 181, 179, 174, 180)
"""Examples of each class."""
Class = Annotated[int, Field(ge=0, le=9)]


class Digits(Pool):
    """1,797 handwritten digits of 8x8 grey pixels, ten classes.

    With `classes: [5, 7]` the other digits are left out, and the targets are 0 for a five and 1 for a seven.

    Shapes: inputs (1, 8, 8), ink from 0 to 1 in sixteenths; targets 0 to 9, or the place in `classes`.
    Errors: parts that do not fit into the examples; a class that is no digit or is given twice.
    Source: Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits, UCI, doi:10.24432/C50P49, CC BY 4.0:
        its test part, which scikit-learn bundles as `load_digits`.
    """

    kind: ClassVar[str] = "digits"
    valid: ValidPart = 0.1
    test: TestPart = 0.2
    stratify: Stratify = True
    classes: list[Class] | None = Field(
        None, min_length=2, description="digits that are taken, in their order as classes"
    )

    @model_validator(mode="after")
    def _each_class_once(self) -> Self:
        twice = next((one for one in self.classes or () if (self.classes or []).count(one) > 1), None)
        if twice is not None:
            raise ValueError(f"`classes` has {twice} twice: a digit is one class")
        return self

    source: ClassVar[str] = (
        "Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits, UCI, doi:10.24432/C50P49, CC BY 4.0"
    )

    def facts(self) -> Facts:
        taken = range(10) if self.classes is None else self.classes
        examples, *_ = self.part_sizes(sum(COUNTS[one] for one in taken))
        return self.facts_of(Shape((1, 8, 8)), classes=len(taken), examples=examples)

    def load(self) -> Sets:
        images, labels = embedded()
        x, y, names = images[:, None].astype(np.float32) / np.float32(16), labels.astype(np.int64), NAMES
        if self.classes is not None:
            rows, y = chosen(y, self.classes)
            x, names = x[rows], tuple(NAMES[one] for one in self.classes)
        return self.assembled(self.split_pool(x, y), self.source, names)


def embedded() -> tuple[Bytes, Bytes]:
    """Return the stored pictures, (1797, 8, 8) from 0 to 16, and their digits (1797,); both uint8."""
    with np.load(FILE, allow_pickle=False) as archive:
        return archive["images"], archive["labels"]
