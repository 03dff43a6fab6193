"""A cache file of decoded pictures, from which batches are streamed."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import DataError
from ...lazy import np
from ...shapes import Shape
from ..cache import ABOUT, cache_folder, cached_file
from ..file_reading import gib
from ..streaming import Mapped
from .image import NAMED, ImageFormat, ImageSource
from .image_index import ImageIndex

if TYPE_CHECKING:
    import numpy.typing as npt

    Pixels = npt.NDArray[Any]
    Put = Callable[[list[int], Pixels], None]
    Report = Callable[[str], object]

BLOCK = 256  # pictures that one thread decodes at a time
FORMAT = 2  # of the files: a change in how they are written gives them new names


def decode_all(
    sources: Iterable[tuple[int, ImageSource]],
    form: ImageFormat,
    shape: Shape,
    put: Put,
    report: Report | None = None,
) -> None:
    """Decode pictures on all cores.

    Arguments:
        sources: pairs of a place and a picture.
        form: channels and size that all pictures are converted to.
        shape: expected shape (channels, height, width). DataError for another one.
        put: called with places, and pixels (n, *shape) from 0 to 255.
        report: called with a sentence on what decoding ignores.
    """

    def block(pictures: list[tuple[int, ImageSource]]) -> None:
        found = [form.decode(source, report) for _, source in pictures]
        for one, (_, source) in zip(found, pictures, strict=True):
            if one.shape != (*shape[1:], shape[0]):
                raise _shape_error(source, Shape((one.shape[2], *one.shape[:2])), shape)
        put([place for place, _ in pictures], np.moveaxis(np.stack(found), -1, 1))

    with ThreadPoolExecutor() as threads:
        for _ in threads.map(block, _blocks(sources)):
            pass


def decoded_file(
    index: ImageIndex,
    form: ImageFormat,
    shape: Shape,
    report: Report | None = None,
    check: Callable[[], object] = lambda: None,
) -> tuple[Mapped, Path]:
    """Return the mapped file of all decoded pictures, and its path; it is written where it does not exist.

    Its name is a digest of the stored pictures and of the format that they are converted to. `check` is called before
    a new file is used, and raises where it is not to be.
    """
    import PIL

    first = form.decode(index.first(), lambda _: None).dtype
    deep = first == np.float32
    # Another version of Pillow may decode to other pixels
    key = hashlib.sha256(f"{FORMAT} {PIL.__version__} {form} {shape} {deep} {index.content()}".encode())
    dtype = np.dtype("<f4" if deep else "<i2" if first == np.int16 else "u1")

    def write(path: Path) -> None:
        count = len(index.labels)
        row = dtype.itemsize * prod(shape)
        _check_disk(count * row)
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": dtype.str, "fortran_order": False, "shape": (count, *shape)}
            )
            file.flush()
            start, handle = file.tell(), file.fileno()

            def put(places: list[int], found: Pixels) -> None:
                if found.dtype.kind == "f" and not deep:
                    raise DataError(
                        f"the first picture of {index.where} has 8 bits and others 16, which do not stream together",
                        hint="Give `stream: false`, or save them with the same depth.",
                    )
                for place, one in zip(places, found, strict=True):
                    # Threads write at offsets of their own, without a file position that they would share
                    os.pwrite(handle, np.ascontiguousarray(one, dtype).data, start + place * row)

            decode_all(index.sources(np.arange(count)), form, shape, put, report)
            check()
            # Before the file gets its final name, so that a crash leaves no cache file with holes
            os.fsync(handle)

    path = cached_file(f"images/{key.hexdigest()}.npy", write)
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    return Mapped(path, array.dtype, array.shape, array.offset), path


def _check_disk(needed: int) -> None:
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(folder).free) < needed:
        raise DataError(
            f"the decoded pictures take {gib(needed)} GiB, and {gib(free)} GiB are free in {folder}", hint=ABOUT
        )


def _blocks(sources: Iterable[tuple[int, ImageSource]]) -> Iterator[list[tuple[int, ImageSource]]]:
    pending = iter(sources)
    while block := list(islice(pending, BLOCK)):
        yield block


def _shape_error(source: ImageSource, found: Shape, shape: Shape) -> DataError:
    """Return the error of a picture whose shape is not that of the first."""
    message = f"{source.name} is {_described(found)}, and the first picture {_described(shape)}"
    way_out = "`size: 32` brings all to one size" if found[1:] != shape[1:] else "`channels: 3` makes all coloured"
    return DataError(message, hint=f"Pictures of one set have one shape: {way_out}.")


def _described(x: Shape) -> str:
    """Describe a shape: `32x32 in colour`."""
    return f"{x[1]}x{x[2]} {NAMED[x[0]]}"
