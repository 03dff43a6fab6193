"""Handwritten digits that come with the package: real data without a download."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ...lazy import np
from ...shapes import Shape
from ..base import Facts, Sets
from ..splits import Pool, Stratify, TestPart, ValidPart

if TYPE_CHECKING:
    import numpy.typing as npt

    Bytes = npt.NDArray[Any]

FILE = Path(__file__).with_name("digits.npz")
COUNT = 1797
NAMES = tuple("0123456789")


class Digits(Pool):
    """1,797 handwritten digits of 8x8 grey pixels, ten classes.

    Shapes: inputs (1, 8, 8), ink from 0 to 1 in sixteenths; targets 0 to 9.
    Errors: parts that do not fit into 1,797 examples.
    Source: Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits, UCI, doi:10.24432/C50P49, CC BY 4.0:
        its test part, which scikit-learn bundles as `load_digits`.
    """

    kind: ClassVar[str] = "digits"
    valid: ValidPart = 0.1
    test: TestPart = 0.2
    stratify: Stratify = True

    source: ClassVar[str] = (
        "Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits, UCI, doi:10.24432/C50P49, CC BY 4.0"
    )

    def facts(self) -> Facts:
        self.part_sizes(COUNT)
        return self.facts_of(Shape((1, 8, 8)), classes=len(NAMES))

    def load(self) -> Sets:
        images, labels = embedded()
        x = images[:, None].astype(np.float32) / np.float32(16)
        return self.assembled(self.split_pool(x, labels.astype(np.int64)), self.source, NAMES)


def embedded() -> tuple[Bytes, Bytes]:
    """Return the stored pictures, (1797, 8, 8) from 0 to 16, and their digits (1797,); both uint8."""
    with np.load(FILE, allow_pickle=False) as archive:
        return archive["images"], archive["labels"]
