"""Files in MNIST's IDX format, gzipped or not."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BufferedReader
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

from pydantic import Field, model_validator

from ...errors import DataError, did_you_mean, listed
from ...lazy import np
from ...registry import FilePath
from ...shapes import Shape, by_x
from ..base import Facts, Sets, Split
from ..class_subset import ClassNumbers, chosen, numbers_of
from ..file_reading import existing, real_numbers
from ..read_once import facts_once, taken
from ..splits import Pool

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..base import Floats, Labels

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
AXES = 8  # the most that a file may have here
GZIP = b"\x1f\x8b"
DENSEST = 1032  # bytes that one byte of a deflate stream can stand for
BLOCK = 1 << 20


class IDX(Pool):
    """Images and class numbers from files in MNIST's own format, such as MNIST, Fashion-MNIST, KMNIST or EMNIST.

    Shapes: images (n, h, w) -> inputs (1, h, w); (n, c, h, w) -> (c, h, w); other ranks stay: (n, *s) -> s.
        Labels (n,) -> targets 0 to classes - 1, with classes = the largest label + 1.
    With `classes: [3, 5]` the others are left out, and the targets are 0 for a three and 1 for a five.
    Without test files, `test` and `valid` come out of the images; with them, `valid` alone.
    Errors: a file that is missing, a folder, torn, of another format or of another length than its header promises;
        images and labels that differ in number; labels that are not whole numbers from 0 up.
    Source: LeCun, Cortes & Burges, "The MNIST database of handwritten digits", which describes the format.
    """

    kind: ClassVar[str] = "idx"
    images: FilePath = Field(description="file of images, gzipped or not")
    labels: FilePath = Field(description="file of their class numbers")
    test_images: FilePath | None = Field(None, description="file of test images")
    test_labels: FilePath | None = Field(None, description="file of their class numbers")
    scale: bool = Field(True, description="divide unsigned bytes by 255")
    classes: ClassNumbers | None = Field(
        None, description="class numbers that are taken, in their order as classes; null is all"
    )

    source: ClassVar[str] = "IDX files"
    loads_in_numpy: ClassVar[bool] = True

    @classmethod
    def first_field(cls) -> str:
        return "images"

    @model_validator(mode="after")
    def _one_test(self) -> Self:
        if (self.test_images is None) != (self.test_labels is None):
            present, absent = ("images", "labels") if self.test_images else ("labels", "images")
            raise ValueError(f"`test_{present}` stands without `test_{absent}`: give both files, or neither")
        if self.test_images and self.test:
            raise ValueError(
                "`test` takes examples from `images`, and `test_images` brings them: give one of the two"
            )
        return self

    def facts(self) -> Facts:
        return facts_once(self, self._files, self._read_facts)

    def _read_facts(self) -> tuple[Facts, list[Labels]]:
        """Return the facts, and the labels of each pair of files that they are of."""
        shapes, labels = [], []
        for images, numbers in self._pairs():
            header = read_header(images)
            shapes.append(_input_shape(header))
            _check_counts(header, read_header(numbers))
            labels.append(read_labels(numbers))
        self._check_shapes(shapes)
        count = max(int(one.max()) for one in labels) + 1
        if self.classes is None:
            examples, *_ = self.part_sizes(len(labels[0]))
            return self.facts_of(shapes[0], classes=count, examples=examples), labels
        self._numbers(count)
        rows, _ = chosen(labels[0], self.classes)
        examples, *_ = self.part_sizes(len(rows))
        facts = self.facts_of(shapes[0], classes=len(self.classes), examples=examples)
        return replace(facts, class_names=self._names), labels

    def load(self) -> Sets:
        self.facts()
        labels = taken(self, self._files) or self._read_facts()[1]
        images = [pair[0] for pair in self._pairs()]
        pool, *test = [self._chosen(self._examples(*one)) for one in zip(images, labels, strict=True)]
        parts = self.split_pool(pool.x, pool.y)
        files = ", ".join(map(str, self._files))
        return self.assembled([*parts[:2], *(test or parts[2:])], f"{self.source} {files}", self._names)

    @property
    def _files(self) -> list[Path]:
        return [path for pair in self._pairs() for path in pair]

    @property
    def _names(self) -> tuple[str, ...]:
        """Names of the chosen classes: their numbers in the file."""
        return tuple(map(str, self.classes or ()))

    def _numbers(self, count: int) -> list[int]:
        return numbers_of(self.classes or (), count, (), str(self.labels))

    def _chosen(self, every: Split) -> Split:
        """Return the examples of the chosen classes. DataError where there are none."""
        if self.classes is None:
            return every
        rows, y = chosen(every.y, self.classes)
        if not len(rows):
            raise DataError(f"{self.test_labels} has no example of the classes {listed(self._names)}")
        return Split(every.x[rows], y)

    def _pairs(self) -> list[tuple[Path, Path]]:
        pairs = [(self.images, self.labels)]
        if self.test_images and self.test_labels:
            pairs.append((self.test_images, self.test_labels))
        return pairs

    def _examples(self, images: Path, labels: Labels) -> Split:
        header = read_header(images)
        raw = read_array(images)
        x: Floats = real_numbers(raw, str(images)).reshape(len(raw), *_input_shape(header))
        if self.scale and header.dtype == "u1":
            x /= np.float32(255)
        return Split(x, labels)

    def _check_shapes(self, shapes: list[Shape]) -> None:
        if len(set(shapes)) > 1:
            raise DataError(
                f"{self.images} holds inputs of shape {shapes[0]}, {self.test_images} of {shapes[1]}",
                hint="Give test images of the same size.",
            )


@dataclass(frozen=True)
class Header:
    """Header of a file: type, as NumPy names it, and the length of each axis."""

    path: Path
    dtype: str
    sizes: tuple[int, ...]

    @property
    def start(self) -> int:
        return 4 + 4 * len(self.sizes)

    @property
    def bytes(self) -> int:
        """Length of the whole file, uncompressed."""
        return self.start + prod(self.sizes) * int(self.dtype[-1])


def read_header(path: Path) -> Header:
    """Read the header, and compare it with the length of the file as far as compression allows."""
    with opened(path) as (stream, packed):
        header = _parse(path, stream)
    size = path.stat().st_size
    most = DENSEST * size
    if packed and header.bytes > most:
        _wrong_length(header, f"{size:,} gzipped ones, which unpack to {most:,} at most")
    if not packed and header.bytes != size:
        _wrong_length(header, f"{size:,}")
    return header


def read_array(path: Path) -> npt.NDArray[Any]:
    """Read the array. Memory grows with the content, not with what the header claims."""
    header = read_header(path)
    data, torn = bytearray(), False
    with opened(path) as (stream, _):
        try:
            while len(data) <= header.bytes and (block := stream.read1(min(BLOCK, header.bytes + 1 - len(data)))):
                data += block
        except EOFError:
            torn = True
    if torn:
        _wrong_length(header, f"{len(data):,} before the gzip data breaks off")
    if len(data) != header.bytes:
        _wrong_length(header, f"{len(data):,}" if len(data) < header.bytes else "more")
    return np.frombuffer(data, header.dtype, offset=header.start).reshape(header.sizes)


def read_labels(path: Path) -> Labels:
    """Read class numbers (n,) as int64."""
    header = read_header(path)
    if len(header.sizes) != 1 or "f" in header.dtype:
        raise DataError(
            f"{path} holds {_described(header)}, and labels are one whole number an example",
            hint="`images` and `labels` may have changed places.",
        )
    labels = read_array(path).astype(np.int64)
    if (lowest := int(labels.min())) < 0:
        raise DataError(
            f"{path} holds the label {lowest}, and classes count from 0", hint="Number the classes from 0."
        )
    return labels


@contextmanager
def opened(path: Path) -> Iterator[tuple[gzip.GzipFile | BufferedReader, bool]]:
    """Context of the content of a file, uncompressed, and whether it was gzipped; errors become a DataError."""
    if path.exists() and not path.is_dir():
        existing(path)
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == GZIP
            raw.seek(0)
            yield (gzip.GzipFile(fileobj=raw) if packed else raw), packed
    except (zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} holds damaged gzip data: {error}", hint="Fetch the file again.") from None
    except OSError as error:
        if path.is_dir():
            raise DataError(f"{path} is a folder, not a file", hint=_neighbours(path.name, path)) from None
        if not isinstance(error, FileNotFoundError):
            raise DataError(f"{path} cannot be read: {error.strerror}") from None
        if path.parent.is_dir():
            raise DataError(f"{path} does not exist", hint=_neighbours(path.name, path.parent)) from None
        raise DataError(f"{path} does not exist, nor does its folder", hint="Check the path.") from None


def _neighbours(name: str, folder: Path) -> str:
    return (
        did_you_mean(name, (p.name for p in folder.iterdir() if p.is_file()), "files") or "The folder has no files."
    )


def _parse(path: Path, stream: gzip.GzipFile | BufferedReader) -> Header:
    magic = _exactly(path, stream, 4)
    kind, rank = magic[2:]
    if magic[:2] != b"\0\0" or kind not in TYPES or not 1 <= rank <= AXES:
        raise DataError(
            f"{path} starts with 0x{magic.hex()}, and an IDX file with 0x0000, the type (08, 09, 0b to 0e) "
            f"and the number of axes (01 to {AXES:02})",
            hint="MNIST's images start with 0x00000803, its labels with 0x00000801.",
        )
    sizes = struct.unpack(f">{rank}I", _exactly(path, stream, 4 * rank))
    header = Header(path, TYPES[kind], sizes)
    if not prod(sizes):
        raise DataError(f"{path} holds {_described(header)}: nothing", hint="Give a file with examples in it.")
    return header


def _exactly(path: Path, stream: gzip.GzipFile | BufferedReader, count: int) -> bytes:
    try:
        data = stream.read(count)
    except EOFError:
        data = b""
    if len(data) < count:
        raise DataError(
            f"{path} ends within its header: {count} bytes expected, {len(data)} found", hint="Fetch the file again."
        )
    return data


def _wrong_length(header: Header, found: str) -> NoReturn:
    raise DataError(
        f"{header.path} promises {_described(header)}: {header.bytes:,} bytes expected in all, found {found}",
        hint="Fetch the file again.",
    )


def _described(header: Header) -> str:
    """Describe a header: `uint8 values 60000x28x28`."""
    return f"{np.dtype(header.dtype).newbyteorder('=')} values {by_x(header.sizes)}"


def _input_shape(header: Header) -> Shape:
    sizes = header.sizes[1:]
    if not sizes:
        raise DataError(
            f"{header.path} holds {_described(header)}, and images have more than one axis",
            hint="`images` and `labels` may have changed places.",
        )
    return Shape((1, *sizes) if len(sizes) == 2 else sizes)


def _check_counts(images: Header, labels: Header) -> None:
    if images.sizes[0] != labels.sizes[0]:
        raise DataError(
            f"{images.path} holds {images.sizes[0]:,} images, {labels.path} {labels.sizes[0]:,} labels",
            hint="Give two files of the same examples.",
        )
