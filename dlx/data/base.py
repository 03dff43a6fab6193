"""What every data source is: fields, `facts` (what it holds, known before it is loaded), `load` (NumPy arrays)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..errors import Problem
from ..registry import FAMILIES, Declared, Registry, family
from ..shapes import Shape

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from .feed import Feed
    from .input_record import InputRecord
    from .memory import Columns
    from .new_inputs import NewInputs
    from .preprocess import Fitted
    from .splits import Indices

    Floats = npt.NDArray[np.float32]
    Labels = npt.NDArray[Any]
    Values = npt.NDArray[Any]
    """Inputs in single or double precision."""


@dataclass(frozen=True)
class ColumnUse:
    """The use of a column of a table or of an array of a file, its number of inputs, and the reason."""

    name: str
    taken_for: str
    inputs: int
    because: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


Role = Literal["input", "target", "weight", "id"]


@dataclass(frozen=True)
class Field:
    """A named tensor of a batch: the shape of one example, its use, and how many classes its numbers are of.

    A class number of an example has the shape ().
    """

    shape: Shape
    role: Role = "input"
    classes: int | None = None


@dataclass(frozen=True)
class Facts:
    """What a network must fit: the shape of one input, and either how many classes or the shape of one target.

    Both together are a class at each position of a target.
    """

    input: Shape
    classes: int | None = None
    target: Shape | None = None
    columns: tuple[ColumnUse, ...] = ()
    """How each column or array of the source is used, where it has some."""
    warnings: tuple[Problem, ...] = ()
    """Sentences about how the source was read."""
    more: Mapping[str, Field] = field(default_factory=dict)
    """Further fields of a batch by name."""

    def __post_init__(self) -> None:
        """Take plain tuples for shapes."""
        for name in ("input", "target"):
            shape = getattr(self, name)
            if shape is not None and not isinstance(shape, Shape):
                object.__setattr__(self, name, Shape(shape))

    @property
    def fields(self) -> Mapping[str, Field]:
        """All fields of a batch by name: `input`, `target` where there is one, and `more`."""
        found = {"input": Field(self.input)}
        if self.classes is not None:
            found["target"] = Field(Shape(self.target or (), "int"), "target", self.classes)
        elif self.target is not None:
            found["target"] = Field(self.target, "target")
        return found | dict(self.more)


@dataclass(frozen=True)
class Split:
    """Inputs `(n, *shape)` as float32, and targets: int64 class numbers `(n,)`, float32 values `(n, *target)`, or
    int64 class numbers of positions `(n, *target)`.

    Where a set streams, inputs and targets of values are `Streamed`: they are sliced and taken by number as arrays
    are, and nothing else can be done with them; `resident` gives some of them in memory.
    """

    x: Floats
    y: Labels
    rows: Indices | None = None
    """The place of each example in the pool that it was drawn from, from 0 on; None where there is no pool."""

    def __len__(self) -> int:
        return len(self.x)

    @property
    def streams(self) -> bool:
        """Whether the inputs stay on disk."""
        from .streaming import Streamed

        x: Any = self.x
        return isinstance(x, Streamed)

    def in_memory(self, most: int) -> Split:
        """The same in memory; the first `most` bytes of it where it streams."""
        from .streaming import Streamed

        arrays: tuple[Any, ...] = (self.x, self.y)
        streamed = [array for array in arrays if isinstance(array, Streamed)]
        if not streamed:
            return self
        count = max(2, most // sum(4 * prod(array.example_shape) for array in streamed))
        return Split(self.x[:count], self.y[:count], None if self.rows is None else self.rows[:count])


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
    notes: tuple[str, ...] = ()
    """What is worth a sentence when training starts, such as where decoded pictures are kept."""
    reading: Mapping[str, Any] = field(default_factory=dict)
    """What else reading later inputs wants, as JSON has it, such as the categories of a table."""

    def in_memory(self, most: int) -> Sets:
        """The same in memory; of each part that streams, the first `most` bytes."""
        parts = (part and part.in_memory(most) for part in (self.valid, self.test))
        valid, test = parts
        return replace(self, train=self.train.in_memory(most), valid=valid, test=test)


DATASETS: Registry[Dataset] = FAMILIES["data"]


@family(DATASETS)
class Dataset(Declared):
    """The root of all data sources."""

    required = ("facts", "load")

    source: ClassVar[str] = ""

    def facts(self) -> Facts:
        """What the data looks like, cheaply: a header may be read, nothing loaded. DataError if it cannot be had."""
        raise TypeError(f"{type(self).__name__} has no facts()")

    def feed(self, part: Any, train: Any) -> Feed | None:
        """A feed of its own for the training part, as it lies on the device; None for independent examples."""
        return None

    def new_inputs(self, path: Path, record: InputRecord) -> NewInputs:
        """Inputs that come after training, as they are before preprocessing. DataError where they cannot be had."""
        from .new_inputs import read

        return read(path, record.raw)

    def from_memory(self, inputs: Columns | Values, record: InputRecord) -> NewInputs:
        """Inputs that are no file, as they are before preprocessing. DataError where they have another shape."""
        from .memory import array_of

        return array_of(inputs, record.raw)

    def load(self) -> Sets:
        """The arrays. DataError where a file is missing, truncated or of the wrong length."""
        raise TypeError(f"{type(self).__name__} has no load()")
