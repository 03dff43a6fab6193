"""What every data source is: fields, `facts` (what it holds, known before it is loaded), `load` (NumPy arrays)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ..registry import Declared, Registry, family
from ..shapes import Shape

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from .preprocess import Fitted

    Floats = npt.NDArray[np.float32]
    Labels = npt.NDArray[Any]


@dataclass(frozen=True)
class Facts:
    """What a network must fit: the shape of one input, and either how many classes or the shape of one target.

    Both together are a class at each position of a target.
    """

    input: Shape
    classes: int | None = None
    target: Shape | None = None


@dataclass(frozen=True)
class Split:
    """Inputs `(n, *shape)` as float32, and targets: int64 class numbers `(n,)`, float32 values `(n, *target)`, or
    int64 class numbers of positions `(n, *target)`.
    """

    x: Floats
    y: Labels

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Sets:
    """The disjoint parts of a data set. `digest` is a SHA-256 of their bytes, `source` says where they come from.

    `preprocess` holds the steps that the inputs went through, with what was found in the training part.
    """

    train: Split
    valid: Split | None
    test: Split | None
    digest: str
    source: str
    class_names: tuple[str, ...] = ()
    preprocess: tuple[Fitted, ...] = ()


DATASETS: Registry[Dataset] = Registry("data set", "dlx.data", "dlx.data")


@family(DATASETS)
class Dataset(Declared):
    """The root of all data sources."""

    source: ClassVar[str] = ""

    def facts(self) -> Facts:
        """What the data looks like, cheaply: a header may be read, nothing loaded. DataError if it cannot be had."""
        raise TypeError(f"{type(self).__name__} has no facts()")

    def load(self) -> Sets:
        """The arrays. DataError where a file is missing, truncated or of the wrong length."""
        raise TypeError(f"{type(self).__name__} has no load()")
