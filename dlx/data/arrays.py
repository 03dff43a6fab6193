"""Arrays that are ready: NumPy's, safetensors' and torch's files."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ..errors import DataError
from ..lazy import np
from ..registry import FilePath
from ..shapes import Shape
from .base import Facts, Sets, Split
from .reading import class_numbers, fits, real
from .splits import Pool
from .stored import Stored, stored

if TYPE_CHECKING:
    from .base import Floats, Labels


class Arrays(Pool):
    """Inputs and targets from arrays in a file: .npz, .safetensors, .pt with names, or two files .npy.

    Shapes: an array (n, *s) -> inputs s, as they are; `channels: last` moves the last axis to the front, `none` puts
        an axis of one there. Targets: whole numbers (n,) or (n, 1) are classes from 0; others values, (n,) -> (1,).
        Bytes are divided by 255 unless `scale: false`.
    Parts: `test_x` and `test_y` name the arrays of the test part, `valid_x` and `valid_y` those to validate on;
        without them the parts come out of the training examples.
    A file .pt holds a mapping of names to tensors and is read with `weights_only`, which runs none of its code; only
    then is torch needed to look at a spec.
    Errors: a file that is missing, torn or holds Python objects; a name that it lacks; inputs and targets that differ
        in number; parts that differ in shape; classes that are not whole numbers from 0; values that are not finite.
    Source: numpy.lib.format; the safetensors format; torch.save.
    """

    kind: ClassVar[str] = "arrays"
    path: FilePath = Field(description="file of arrays, .npz, .safetensors or .pt; or of the inputs, .npy")
    targets: FilePath | None = Field(None, description="file of the targets, .npy, where `path` is .npy")
    x: str = Field("x", description="name of the inputs in the file")
    y: str = Field("y", description="name of the targets in the file")
    valid_x: str | None = Field(None, description="name of the validation inputs")
    valid_y: str | None = Field(None, description="name of their targets")
    test_x: str | None = Field(None, description="name of the test inputs")
    test_y: str | None = Field(None, description="name of their targets")
    task: Literal["classification", "regression"] | None = Field(
        None, description="null: classes where the targets are whole numbers, else values"
    )
    channels: Literal["first", "last", "none"] = Field("first", description="where the axis of channels is")
    scale: bool = Field(True, description="divide unsigned bytes by 255")

    source: ClassVar[str] = "arrays"

    @classmethod
    def first_field(cls) -> str:
        return "path"

    @model_validator(mode="after")
    def _in_pairs(self) -> Self:
        for part in ("valid", "test"):
            x, y = getattr(self, f"{part}_x"), getattr(self, f"{part}_y")
            if (x is None) != (y is None):
                given, lacking = ("x", "y") if x else ("y", "x")
                raise ValueError(f"`{part}_{given}` stands without `{part}_{lacking}`: give both names, or neither")
            for field in (part, "folds") if part == "valid" else (part,):
                if x and getattr(self, field):
                    raise ValueError(
                        f"`{field}` takes examples from `x`, and `{part}_x` brings them: give one of the two"
                    )
        if (self.path.suffix == ".npy") != (self.targets is not None):
            raise ValueError("a file .npy holds one array: give the inputs as `path` and the targets as `targets`")
        return self

    def facts(self) -> Facts:
        places = self._places()
        shapes = {x: self._shape(stored_x.sizes, x) for (x, stored_x), _ in places.values()}
        first, *others = shapes
        for name in others:
            if shapes[name] != shapes[first]:
                raise DataError(
                    f"`{first}` of {self.path} holds inputs of shape {shapes[first]}, `{name}` of {shapes[name]}",
                    hint="Give parts of one set.",
                )
        answers = [self._answers(y, name) for _, (name, y) in places.values()]
        self.counts(len(answers[0]))
        if answers[0].dtype == np.int64:
            return self.seen(shapes[first], classes=max(int(y.max()) for y in answers) + 1)
        return self.seen(shapes[first], target=Shape(answers[0].shape[1:]))

    def load(self) -> Sets:
        self.facts()
        places = self._places()
        first = next(iter(places.values()))[0][1].sizes
        fits(sum(x.sizes[0] for (_, x), _ in places.values()), Shape(first[1:]), "keep fewer examples in the file")
        made = {
            part: Split(self._inputs(x, name), self._answers(y, target))
            for part, ((name, x), (target, y)) in places.items()
        }
        pool = made.pop("train")
        parts = dict(zip(("train", "valid", "test"), self.split(pool.x, pool.y), strict=True)) | made
        return self.finished(list(parts.values()), f"{self.source} {self.path}")

    def _places(self) -> dict[str, tuple[tuple[str, Stored], tuple[str, Stored]]]:
        """The name and place of the inputs and of the targets of each part that the file has."""
        names = {"train": (self.x, self.y), "valid": (self.valid_x, self.valid_y), "test": (self.test_x, self.test_y)}
        found = {}
        for part, (x, y) in names.items():
            if x is None or y is None:
                continue
            inputs, targets = stored(self.path, x), stored(self.targets or self.path, y)
            found[part] = (x, inputs), (y, targets)
            counts = [place.sizes[0] if place.sizes else 0 for place in (inputs, targets)]
            if counts[0] != counts[1]:
                raise DataError(
                    f"`{x}` of {self.path} holds {counts[0]:,} inputs, `{y}` {counts[1]:,} targets",
                    hint="Give two arrays of the same examples.",
                )
            if not counts[0]:
                raise DataError(f"`{x}` of {self.path} holds no examples", hint="Give an array with examples in it.")
        return found

    def _shape(self, sizes: tuple[int, ...], name: str) -> Shape:
        if len(sizes) < 2 and self.channels != "none":
            raise DataError(
                f"`{name}` of {self.path} has the shape {sizes}: one axis, of examples",
                hint="`channels: none` makes each number an input of one value.",
            )
        first, *rest = sizes[1:] or (1,)
        if self.channels == "none":
            return Shape((1, *sizes[1:]))
        return Shape((rest[-1], first, *rest[:-1]) if self.channels == "last" and rest else (first, *rest))

    def _inputs(self, place: Stored, name: str) -> Floats:
        raw = place.read()
        x = np.moveaxis(raw, -1, 1) if self.channels == "last" else raw
        plain = real(x, f"`{name}` of {self.path}")
        if self.scale and raw.dtype == np.uint8:
            plain = plain / np.float32(255)
        return plain.reshape(len(raw), *self._shape(raw.shape, name))

    def _answers(self, place: Stored, name: str) -> Labels:
        y = place.read()
        where = f"`{name}` of {self.targets or self.path}"
        if self.task == "classification" or (self.task is None and y.dtype.kind in "iub"):
            return class_numbers(y, where)
        values = real(y, where)
        return values if values.ndim > 1 else values[:, None]
