"""Arrays from files of NumPy, safetensors and torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ...errors import DataError, Problem, listed
from ...lazy import np
from ...registry import FilePath
from ...shapes import Shape
from ..base import ColumnUse, Facts, Sets, Split
from ..file_reading import (
    ONE_LABEL,
    SEVERAL_LABELS,
    check_memory,
    class_numbers,
    exceeds_float32,
    real_numbers,
)
from ..new_inputs import NewInputs, named, scaled, shape_of_inputs, shaped
from ..preprocess.sums import CHUNK
from ..python_inputs import INPUTS, values_of
from ..splits import Pool
from ..streaming import Stream, should_stream, stream_rows
from .array_files import StoredArray, names_in, open_array
from .fields import Inputs, Targets
from .named import check_named, fields_from_memory, load_named, named_facts, named_inputs

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..base import Labels, Values
    from ..input_record import InputRecord
    from ..python_inputs import Columns, FieldInputs


class Arrays(Pool):
    """Inputs and targets from arrays in a file: .npz, .safetensors, .pt with names, or files .npy.

    Shapes: an array (n, *s) -> inputs s, as they are; `channels: last` moves the last axis to the front, `none` puts
        an axis of one there. Targets: whole numbers (n,) or (n, 1) are classes from 0; others values, (n,) -> (1,).
        Bytes are divided by 255 unless `scale: false`.
    Parts: `test_x` and `test_y` name the arrays of the test part, `valid_x` and `valid_y` those to validate on; so
        they are called where nothing is said. Where there are none, or `test` or `valid` is given, parts come out of
        the training examples.
    Fields: `inputs: {image: x, mask: m}` and `targets: {price: p, kind: {array: k, is: classes}}` name several, by
        the arrays that hold them: in the file, in a folder of files .npy, or `masks.npy` beside it. `weights` and
        `ids` name one each: weights count in the loss of training, ids bear predictions. Other parts of theirs are
        `test_NAME` and `valid_NAME`. Whole numbers other than unsigned bytes stay integers of their width as inputs,
        and are classes as targets, of examples (n,) or of positions (n, *size), where -100 does not count; `is` says
        it otherwise. Each input of values goes through `standardize` and `preprocess` by itself.
    Without labels: `target: null`, for objectives that read no target. Parts of their own are `test_NAME` and
        `valid_NAME` as above, and a file .npy is read whole.
    Streaming: where the inputs are a file .npy, `stream` leaves them there, and targets of values too, and reads each
        batch while the network works on the one before. What is trained has the same bits either way, but for
        `pca` and `whiten`. Before training, all of it is read once for the digest and once for each step of
        `preprocess`.
    A file .pt holds a mapping of names to tensors and is read with `weights_only`, which runs none of its code; only
    then is torch needed to look at a spec.
    Errors: a file that is missing, torn or holds Python objects; a name that it lacks; inputs and targets that differ
        in number; parts that differ in shape; classes that are not whole numbers from 0; values that are not finite;
        `stream: true` for another file than .npy.
    Source: numpy.lib.format; the safetensors format; torch.save.
    """

    kind: ClassVar[str] = "arrays"
    path: FilePath = Field(description="file of arrays, .npz, .safetensors or .pt; or of the inputs, .npy")
    inputs: Inputs = None
    targets: FilePath | Targets | None = Field(
        None, description="file of the targets, .npy, where `path` is .npy; or the array of each of several fields"
    )
    target: None = Field(None, description="null, where it is written: examples without labels, and no `y` is read")
    weights: str | None = Field(None, description="array of the weight of each example in the loss")
    ids: str | None = Field(None, description="array of a name for each example, which predictions bear")
    x: str = Field("x", description="name of the inputs in the file")
    y: str = Field("y", description="name of the targets in the file")
    valid_x: str | None = Field(None, description="name of the validation inputs; null: `valid_x`, if it is there")
    valid_y: str | None = Field(None, description="name of their targets; null: `valid_y`, if it is there")
    test_x: str | None = Field(None, description="name of the test inputs; null: `test_x`, if it is there")
    test_y: str | None = Field(None, description="name of their targets; null: `test_y`, if it is there")
    task: Literal["classification", "regression", "multilabel"] | None = Field(
        None,
        description="null: classes where the targets are whole numbers, else values; multilabel: several of 0 and 1",
    )
    channels: Literal["first", "last", "none"] = Field("first", description="where the axis of channels is")
    scale: bool = Field(True, description="divide unsigned bytes by 255")
    stream: Stream = "auto"

    source: ClassVar[str] = "arrays"

    @classmethod
    def first_field(cls) -> str:
        return "path"

    @model_validator(mode="after")
    def _in_pairs(self) -> Self:
        if self.named:
            check_named(self)
            return self
        for part in ("valid", "test"):
            x, y = getattr(self, f"{part}_x"), getattr(self, f"{part}_y")
            if (x is None) != (y is None):
                present, absent = ("x", "y") if x else ("y", "x")
                raise ValueError(f"`{part}_{present}` stands without `{part}_{absent}`: give both names, or neither")
            for field in (part, "folds") if part == "valid" else (part,):
                if x and getattr(self, field):
                    raise ValueError(
                        f"`{field}` takes examples from `x`, and `{part}_x` brings them: give one of the two"
                    )
        if (self.path.suffix == ".npy") != (self.targets is not None):
            raise ValueError(
                "a file .npy holds one array: give the inputs as `path` and the targets as `targets`, "
                "or `target: null`"
            )
        if self.stream is True and self.path.suffix != ".npy":
            raise ValueError(
                f"`stream: true` reads a file .npy by rows, and `path` ends in {self.path.suffix or 'nothing'}: "
                "save the arrays with numpy.save, one a file"
            )
        return self

    @property
    def named(self) -> bool:
        """Whether fields have names of their own: several inputs or targets, none of them, weights, ids."""
        several = self.inputs is not None or isinstance(self.targets, dict)
        return several or self.unlabelled or bool(self.weights or self.ids)

    @property
    def unlabelled(self) -> bool:
        """Whether no array is a target, by `target: null`."""
        return "target" in self.model_fields_set

    def facts(self) -> Facts:
        if self.named:
            return named_facts(self)
        places = self._arrays_by_part()
        uses, warnings = self._uses(places)
        shapes = {x: self._shape(stored_x.sizes, x) for (x, stored_x), _ in places.values()}
        first, *others = shapes
        for name in others:
            if shapes[name] != shapes[first]:
                raise DataError(
                    f"`{first}` of {self.path} holds inputs of shape {shapes[first]}, `{name}` of {shapes[name]}",
                    hint="Give parts of one set.",
                )
        targets = [self._targets_of(y, name, self._streams(x)) for (_, x), (name, y) in places.values()]
        examples, *_ = self.part_sizes(len(targets[0]))
        if targets[0].dtype == np.int64:
            facts = self.facts_of(shapes[first], classes=max(int(y.max()) for y in targets) + 1, examples=examples)
        else:
            facts = self.facts_of(shapes[first], target=Shape(targets[0].shape[1:]), examples=examples)
            warnings = (*warnings, *self._labels(targets[0]))
        return replace(facts, columns=uses, warnings=warnings, labels=self.task == "multilabel")

    def load(self) -> Sets:
        if self.named:
            return load_named(self)
        self.facts()
        places = self._arrays_by_part()
        first = next(iter(places.values()))[0][1]
        if not self._streams(first):
            count = sum(x.sizes[0] for (_, x), _ in places.values())
            check_memory(count, Shape(first.sizes[1:]), "keep fewer examples in the file; a file .npy can stream")
        made = {
            part: Split(self._inputs(x, name), self._targets_of(y, target, self._streams(x)))
            for part, ((name, x), (target, y)) in places.items()
        }
        pool = made.pop("train")
        parts = dict(zip(("train", "valid", "test"), self.split_pool(pool.x, pool.y), strict=True)) | made
        of_classes = self._of_classes(places["train"][1][1].dtype)
        problems = (*self._uses(places)[1], *(() if of_classes else self._labels(pool.y)))
        notes = tuple(one.sentence for one in problems)
        return self.assembled(list(parts.values()), f"{self.source} {self.path}", notes=notes)

    def shape_of_inputs(self, inputs: Path | Columns | Values, record: InputRecord) -> Shape:
        if self.named:
            return record.raw
        return shape_of_inputs(inputs, record.raw, layout=self.channels, name=self.x)

    def new_inputs(self, path: Path, record: InputRecord) -> NewInputs:
        if self.named:
            return named_inputs(self, path, record)
        return self._as_new_inputs(open_array(path, named(path, self.x)).read(), path, record)

    def from_memory(self, inputs: Columns | Values, record: InputRecord) -> NewInputs:
        return self._as_new_inputs(values_of(inputs), INPUTS, record)

    def from_fields(self, inputs: FieldInputs, record: InputRecord) -> NewInputs:
        return fields_from_memory(self, inputs, record) if self.named else super().from_fields(inputs, record)

    def source_columns(self) -> list[str]:
        return names_in(self.path)

    def source_column(self, name: str, sets: Sets) -> dict[str, Sequence[Any]]:
        return {part: self._column_of(name, part, split) for part, split in sets.parts().items()}

    def _column_of(self, name: str, part: str, split: Split) -> Sequence[Any]:
        """Return the values of an array for a part: its rows of the pool, or the array `test_NAME` of its own."""
        own = name if split.rows is not None or f"{part}_{name}" not in names_in(self.path) else f"{part}_{name}"
        values = open_array(self.path, own).read()
        values = values if split.rows is None or len(values) <= split.rows.max() else values[split.rows]
        if values.shape not in ((len(split),), (len(split), 1)):
            raise DataError(
                f"`{own}` of {self.path} has the shape {values.shape}, and the part `{part}` {len(split):,} examples",
                hint="Name an array with a value for each example.",
            )
        found: list[Any] = values.reshape(len(split)).tolist()
        return found

    def _as_new_inputs(self, raw: Values, path: Path, record: InputRecord) -> NewInputs:
        if self.channels == "last" and raw.ndim == record.raw.rank:
            raw = raw[None]
        x = np.moveaxis(raw, -1, 1) if self.channels == "last" else raw
        plain = scaled(x, path) if self.scale else real_numbers(x, str(path))
        return NewInputs(shaped(plain[:, None] if self.channels == "none" else plain, record.raw, path))

    def _arrays_by_part(self) -> dict[str, tuple[tuple[str, StoredArray], tuple[str, StoredArray]]]:
        """Return name and header of inputs and targets, for each part in the file."""
        there = names_in(self.path)
        found = {}
        for part in ("train", "valid", "test"):
            x, y = (self.x, self.y) if part == "train" else self._named(part, there)
            if x is None or y is None:
                continue
            inputs, targets = (
                open_array(self.path, x),
                open_array(self.targets if isinstance(self.targets, Path) else self.path, y),
            )
            found[part] = (x, inputs), (y, targets)
            counts = [place.sizes[0] if place.sizes else 1 for place in (inputs, targets)]
            if counts[0] != counts[1]:
                raise DataError(
                    f"`{x}` of {self.path} holds {counts[0]:,} inputs, `{y}` {counts[1]:,} targets",
                    hint="Give two arrays of the same examples.",
                )
            if not prod(inputs.sizes):
                empty = "holds no examples" if not counts[0] else f"has the shape {inputs.sizes}: no values"
                raise DataError(f"`{x}` of {self.path} {empty}", hint="Give an array with examples in it.")
        return found

    def _named(self, part: str, there: list[str]) -> tuple[str | None, str | None]:
        """Return the names of inputs and targets of a held-out part: the fields, or `valid_x`, `test_x`, ...
        where they exist.
        """
        x, y = getattr(self, f"{part}_x"), getattr(self, f"{part}_y")
        own = f"{part}_x", f"{part}_y"
        elsewhere = getattr(self, part) or (part == "valid" and self.folds)
        if x is None and not elsewhere and not {self.x, self.y} & {*own} and {*own} <= {*there}:
            return own
        return x, y

    def _uses(
        self, places: dict[str, tuple[tuple[str, StoredArray], tuple[str, StoredArray]]]
    ) -> tuple[tuple[ColumnUse, ...], tuple[Problem, ...]]:
        """Return the use of each array, and a warning about unused ones."""
        uses = []
        for part, ((x, inputs), (y, targets)) in places.items():
            of_part = "" if part == "train" else f", {part} part"
            kind = "classes" if self._of_classes(targets.dtype) else "values"
            scaled = ", divided by 255" if self.scale and inputs.dtype == np.uint8 else ""
            uses.append(
                ColumnUse(
                    x, f"inputs{of_part}", prod(inputs.sizes[1:]), f"{inputs.dtype}{scaled}, as numbers", "input"
                )
            )
            uses.append(ColumnUse(y, f"targets, {kind}{of_part}", 0, f"{targets.dtype}", "target"))
        spare = [name for name in names_in(self.path) if name not in {use.name for use in uses}]
        uses += [ColumnUse(name, "left out", 0, "no field names it") for name in spare]
        if not spare:
            return tuple(uses), ()
        hint = "`x`, `y`, `test_x`, `test_y`, `valid_x` and `valid_y` name the arrays that are taken"
        hint += "; `test` and `valid` take examples out of `x` instead." if self.test or self.valid else "."
        return tuple(uses), (Problem(f"{self.path} holds {listed(spare)} too, which nothing names", hint),)

    def _labels(self, y: Any) -> tuple[Problem, ...]:
        """Return a warning where the values of the targets are 0 and 1 only, so probably labels."""
        if self.task is not None or not np.isin(y[:CHUNK], (0, 1)).all():
            return ()
        many = prod(y.shape[1:]) > 1
        message = f"`{self.y}` of {self._targets_path} holds 0 and 1: labels, which are fitted as values"
        return (Problem(message, SEVERAL_LABELS if many else ONE_LABEL),)

    @property
    def _targets_path(self) -> Path:
        return self.targets if isinstance(self.targets, Path) else self.path

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

    def _streams(self, place: StoredArray) -> bool:
        """Whether the inputs stay on disk."""
        return place.mapped is not None and should_stream(self.stream, place.sizes[0], Shape(place.sizes[1:]))

    def _inputs(self, place: StoredArray, name: str) -> Any:
        """Return the inputs as numbers, in memory or streamed."""
        if self._streams(place) and place.mapped is not None:
            shape = self._shape(place.sizes, name)
            file = place.mapped()
            wanted = np.float64 if exceeds_float32(file.array.dtype) else np.float32
            return stream_rows(file, lambda raw: self._plain(raw, name), shape, wanted)
        return self._plain(place.read(), name)

    def _plain(self, raw: npt.NDArray[Any], name: str) -> Values:
        return self.plain(raw, f"`{name}` of {self.path}")

    def shape_of(self, sizes: tuple[int, ...], where: str) -> Shape:
        """Return the shape of one example of an array of `sizes`. DataError for an array of one axis."""
        return self._shape(sizes, where)

    def plain(self, raw: npt.NDArray[Any], where: str) -> Values:
        """Return raw inputs as numbers, channels first; `where` names the array."""
        x = np.moveaxis(raw, -1, 1) if self.channels == "last" else raw
        plain = real_numbers(x, where)
        if self.scale and raw.dtype == np.uint8:
            plain = plain / np.float32(255)
        return plain.reshape(len(raw), *self._shape(raw.shape, where))

    def _targets_of(self, place: StoredArray, name: str, stream: bool) -> Any:
        """Return the targets: class numbers in memory, values in memory or streamed."""
        mapped = place.mapped() if stream and place.mapped is not None else None
        if mapped is None or self._of_classes(mapped.array.dtype):
            return self._as_targets(place.read(), name)
        return stream_rows(mapped, lambda raw: self._as_targets(raw, name), Shape(place.sizes[1:] or (1,)))

    def _of_classes(self, dtype: np.dtype[Any]) -> bool:
        return self.task == "classification" or (self.task is None and dtype.kind in "iub")

    def _as_targets(self, y: npt.NDArray[Any], name: str) -> Labels:
        where = f"`{name}` of {self._targets_path}"
        if self._of_classes(y.dtype):
            return class_numbers(y, where)
        values: Labels = real_numbers(y, where).astype(np.float32, copy=False)
        return values if values.ndim > 1 else values[:, None]
