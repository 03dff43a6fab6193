"""CIFAR-10 and CIFAR-100 in the binary version of their home page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from ...errors import DataError
from ...lazy import np
from ...registry import FilePath
from ...shapes import Shape
from ..base import Facts, Sets, Split
from ..file_reading import check_memory, existing
from ..splits import Pool

if TYPE_CHECKING:
    import numpy.typing as npt

PIXELS = 3 * 32 * 32


class CIFAR10(Pool):
    """60,000 colour pictures of 32x32 pixels, ten classes: the binary version, as unpacked.

    Shapes: inputs (3, 32, 32) from 0 to 1; targets 0 to 9. The files `data_batch_1.bin` to `data_batch_5.bin` are
    trained on (`valid` comes out of them), `test_batch.bin` is the test part. The same
    pictures in parquet files are read by `images`.
    Errors: a file that is missing or of another length than whole pictures; a class number that is too large.
    Source: Krizhevsky 2009, "Learning multiple layers of features from tiny images", and the page of the data set.
    """

    kind: ClassVar[str] = "cifar10"
    path: FilePath = Field(description="folder of the unpacked binary version, with `data_batch_1.bin` in it")

    files: ClassVar[tuple[str, ...]] = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
    test_file: ClassVar[str] = "test_batch.bin"
    labels: ClassVar[int] = 1
    """Bytes of labels before each picture; the last of them is the class."""
    classes: ClassVar[int] = 10
    names_file: ClassVar[str] = "batches.meta.txt"
    source: ClassVar[str] = "Krizhevsky 2009, CIFAR-10, binary version"

    @classmethod
    def first_field(cls) -> str:
        return "path"

    def facts(self) -> Facts:
        self._not_twice()
        sizes = [self._count(file) for file in (*self.files, self.test_file)]
        self.part_sizes(sum(sizes[:-1]))
        return self.facts_of(Shape((3, 32, 32)), classes=self.classes)

    def load(self) -> Sets:
        self._not_twice()
        check_memory(sum(map(self._count, (*self.files, self.test_file))), Shape((3, 32, 32)), "free some memory")
        raw = np.concatenate([self._records(file) for file in self.files])
        rows = self.rows(raw[:, self.labels - 1])
        train, valid = (self._pictures(raw[chosen]) if len(chosen) else None for chosen in rows[:2])
        parts = [train, valid, self._pictures(self._records(self.test_file))]
        return self.assembled(parts, self.source, self._names())

    def _not_twice(self) -> None:
        if self.test:
            raise DataError(
                f"`test` takes pictures from the training files, and {self.test_file} brings them",
                hint="Leave out `test`.",
            )

    def _count(self, file: str) -> int:
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
        self._count(file)
        raw = np.fromfile(self.path / file, np.uint8).reshape(-1, self.labels + PIXELS)
        if (top := int(raw[:, self.labels - 1].max())) >= self.classes:
            raise DataError(
                f"{self.path / file} holds the class {top}, and there are {self.classes}, from 0 on",
                hint="Fetch the file again: the binary version is wanted, unpacked.",
            )
        return raw

    def _pictures(self, raw: npt.NDArray[Any]) -> Split:
        x = raw[:, self.labels :].reshape(-1, 3, 32, 32).astype(np.float32) / np.float32(255)
        return Split(x, raw[:, self.labels - 1].astype(np.int64))

    def _names(self) -> tuple[str, ...]:
        file: Path = self.path / self.names_file
        names = tuple(file.read_text().split()) if file.is_file() else ()
        return names if len(names) == self.classes else ()


class CIFAR100(CIFAR10):
    """60,000 colour pictures of 32x32 pixels, a hundred classes: the binary version, as unpacked.

    Shapes: inputs (3, 32, 32) from 0 to 1; targets 0 to 99, the fine classes. `train.bin` is trained on, and `valid`
    comes out of it; `test.bin` is the test part.
    Errors: a file that is missing or of another length than whole pictures; a class number that is too large.
    Source: Krizhevsky 2009, "Learning multiple layers of features from tiny images", and the page of the data set.
    """

    kind: ClassVar[str] = "cifar100"
    path: FilePath = Field(description="folder of the unpacked binary version, with `train.bin` in it")

    files: ClassVar[tuple[str, ...]] = ("train.bin",)
    test_file: ClassVar[str] = "test.bin"
    labels: ClassVar[int] = 2
    classes: ClassVar[int] = 100
    names_file: ClassVar[str] = "fine_label_names.txt"
    source: ClassVar[str] = "Krizhevsky 2009, CIFAR-100, binary version"
