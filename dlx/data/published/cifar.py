"""CIFAR-10 and CIFAR-100 in the binary version of their home page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ...errors import DataError
from ...lazy import np
from ...registry import FilePath
from ...shapes import Shape
from ..base import Facts, Sets, Split
from ..base import Field as DataField
from ..class_subset import ClassList, chosen, numbers_of
from ..file_reading import check_memory, existing
from ..splits import Pool

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..base import Labels

PIXELS = 3 * 32 * 32
COARSE = 20
"""Coarse classes of CIFAR-100, of five fine ones each."""


class CIFAR10(Pool):
    """60,000 colour pictures of 32x32 pixels, ten classes: the binary version, as unpacked.

    Shapes: inputs (3, 32, 32) from 0 to 1; targets 0 to 9. The files `data_batch_1.bin` to `data_batch_5.bin` are
    trained on (`valid` comes out of them), `test_batch.bin` is the test part. With `classes: [cat, dog]` the others
    are left out, and the targets are 0 for a cat and 1 for a dog. The same pictures in parquet files are read by
    `images`.
    Errors: a file that is missing or of another length than whole pictures; a class number that is too large.
    Source: Krizhevsky 2009, "Learning multiple layers of features from tiny images", and the page of the data set.
    """

    kind: ClassVar[str] = "cifar10"
    path: FilePath = Field(description="folder of the unpacked binary version, with `data_batch_1.bin` in it")
    classes: ClassList | None = Field(
        None, description="classes that are taken, by number or name, in their order as classes; null is all"
    )

    files: ClassVar[tuple[str, ...]] = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
    test_file: ClassVar[str] = "test_batch.bin"
    labels: ClassVar[int] = 1
    """Bytes of labels before each picture; the last of them is the class."""
    count: ClassVar[int] = 10
    """Classes."""
    names_file: ClassVar[str] = "batches.meta.txt"
    source: ClassVar[str] = "Krizhevsky 2009, CIFAR-10, binary version"
    loads_in_numpy: ClassVar[bool] = True

    @classmethod
    def first_field(cls) -> str:
        return "path"

    @property
    def strata(self) -> int:
        """The byte of a record that holds the class of the first target."""
        return self.labels - 1

    def facts(self) -> Facts:
        self._not_twice()
        sizes = [self._size(file) for file in (*self.files, self.test_file)]
        if self.classes is None:
            examples, *_ = self.part_sizes(sum(sizes[:-1]))
        else:
            examples, *_ = self.part_sizes(len(chosen(self._labels(self.files), self._numbers())[0]))
        classes = self.count if self.classes is None else len(self.classes)
        facts = self.facts_of(Shape((3, 32, 32)), classes=classes, examples=examples)
        return replace(facts, class_names=self._chosen_names())

    def load(self) -> Sets:
        self._not_twice()
        check_memory(sum(map(self._size, (*self.files, self.test_file))), Shape((3, 32, 32)), "free some memory")
        raw = self._taken(np.concatenate([self._records(file) for file in self.files]))
        rows = self.rows(raw[:, self.strata])
        train, valid = (self._pictures(raw[some]) if len(some) else None for some in rows[:2])
        parts = [train, valid, self._pictures(self._taken(self._records(self.test_file)))]
        return self.assembled_fields(parts)

    def assembled_fields(self, parts: Sequence[Split | None]) -> Sets:
        """Preprocess the parts and return the data set."""
        return self.assembled(parts, self.source, self._chosen_names())

    def _labels(self, files: Sequence[str]) -> Labels:
        """Return the class numbers of all pictures in some files."""
        return np.concatenate([self._records(file)[:, self.labels - 1] for file in files]).astype(np.int64)

    def _numbers(self) -> list[int]:
        """Return the numbers of the chosen classes."""
        return numbers_of(self.classes or (), self.count, self._names(), str(self.path))

    def _chosen_names(self) -> tuple[str, ...]:
        if self.classes is None:
            return self._names()
        names = self._names()
        return tuple(names[i] if names else str(i) for i in self._numbers())

    def _taken(self, raw: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the records of the chosen classes, with their places as labels."""
        if self.classes is None:
            return raw
        rows, places = chosen(raw[:, self.labels - 1].astype(np.int64), self._numbers())
        some = raw[rows]
        some[:, self.labels - 1] = places
        return some

    def _not_twice(self) -> None:
        if self.test:
            raise DataError(
                f"`test` takes pictures from the training files, and {self.test_file} brings them",
                hint="Leave out `test`.",
            )

    def _size(self, file: str) -> int:
        """Return the number of pictures in a file, from its length."""
        path = existing(existing(self.path, folder=True) / file, folder=False)
        size, each = path.stat().st_size, self.labels + PIXELS
        if not size or size % each:
            raise DataError(
                f"{path} has {size:,} bytes, and pictures take {each:,} each: {size / each:,.2f} of them",
                hint="Fetch the file again: the binary version is wanted, unpacked.",
            )
        return size // each

    def _records(self, file: str) -> npt.NDArray[Any]:
        self._size(file)
        raw = np.fromfile(self.path / file, np.uint8).reshape(-1, self.labels + PIXELS)
        if (top := int(raw[:, self.labels - 1].max())) >= self.count:
            raise DataError(
                f"{self.path / file} holds the class {top}, and there are {self.count}, from 0 on",
                hint="Fetch the file again: the binary version is wanted, unpacked.",
            )
        return raw

    def _pictures(self, raw: npt.NDArray[Any]) -> Split:
        x = raw[:, self.labels :].reshape(-1, 3, 32, 32).astype(np.float32) / np.float32(255)
        return Split(x, raw[:, self.labels - 1].astype(np.int64))

    def _names(self) -> tuple[str, ...]:
        return self._names_in(self.names_file, self.count)

    def _names_in(self, name: str, count: int) -> tuple[str, ...]:
        """Return the names in a file of the folder; none where it does not have so many."""
        file: Path = self.path / name
        names = tuple(file.read_text().split()) if file.is_file() else ()
        return names if len(names) == count else ()


class CIFAR100(CIFAR10):
    """60,000 colour pictures of 32x32 pixels, a hundred classes: the binary version, as unpacked.

    Shapes: inputs (3, 32, 32) from 0 to 1; targets 0 to 99, the fine classes, or 0 to 19, the coarse ones, by
    `targets`. With `targets: [fine, coarse]` each picture has both, as the fields `fine` and `coarse`. `train.bin` is
    trained on, and `valid` comes out of it; `test.bin` is the test part.
    Errors: a file that is missing or of another length than whole pictures; a class number that is too large;
    `classes` beside coarse ones.
    Source: Krizhevsky 2009, "Learning multiple layers of features from tiny images", and the page of the data set.
    """

    kind: ClassVar[str] = "cifar100"
    path: FilePath = Field(description="folder of the unpacked binary version, with `train.bin` in it")
    targets: Annotated[list[Literal["fine", "coarse"]], Field(min_length=1, max_length=2)] = Field(
        ["fine"], description="labels that are learned; two are fields of their own"
    )

    files: ClassVar[tuple[str, ...]] = ("train.bin",)
    test_file: ClassVar[str] = "test.bin"
    labels: ClassVar[int] = 2
    count: ClassVar[int] = 100
    names_file: ClassVar[str] = "fine_label_names.txt"
    source: ClassVar[str] = "Krizhevsky 2009, CIFAR-100, binary version"

    @model_validator(mode="after")
    def _of_fine_ones(self) -> Self:
        if len(set(self.targets)) < len(self.targets):
            raise ValueError(f"`targets` has {self.targets[0]} twice: give each once")
        if self.classes is not None and self.targets != ["fine"]:
            raise ValueError("`classes` chooses among the fine ones: leave it out, or the coarse targets")
        return self

    @property
    def strata(self) -> int:
        return 0 if self.targets[0] == "coarse" else 1

    def facts(self) -> Facts:
        facts, (first, *others) = super().facts(), self._fields().items()
        if self.targets == ["fine"]:
            return facts
        classes, names = first[1].classes, first[1].names
        more = dict(others)
        target = first[0] if more else "target"
        return replace(facts, classes=classes, class_names=names, target_name=target, more=more)

    def assembled_fields(self, parts: Sequence[Split | None]) -> Sets:
        if len(self.targets) < 2:
            names = self._chosen_names() if self.targets == ["fine"] else self._coarse_names()
            return self.assembled(parts, self.source, names)
        return self.assembled(
            parts, self.source, next(iter(self._fields().values())).names, fields=self.facts().fields
        )

    def _fields(self) -> dict[str, DataField]:
        every = {
            "fine": DataField(Shape((), "int"), "target", self.count, self._names()),
            "coarse": DataField(Shape((), "int"), "target", COARSE, self._coarse_names()),
        }
        return {name: every[name] for name in self.targets}

    def _coarse_names(self) -> tuple[str, ...]:
        return self._names_in("coarse_label_names.txt", COARSE)

    def _records(self, file: str) -> npt.NDArray[Any]:
        raw = super()._records(file)
        if "coarse" in self.targets and (top := int(raw[:, 0].max())) >= COARSE:
            message = f"{self.path / file} holds the coarse class {top}, and there are {COARSE}, from 0 on"
            raise DataError(message, hint="Fetch the file again: the binary version is wanted, unpacked.")
        return raw

    def _pictures(self, raw: npt.NDArray[Any]) -> Split:
        columns = {"coarse": raw[:, 0].astype(np.int64), "fine": raw[:, 1].astype(np.int64)}
        first, *others = self.targets
        return Split(super()._pictures(raw).x, columns[first], more={name: columns[name] for name in others})
