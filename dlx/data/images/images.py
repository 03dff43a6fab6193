"""The user's own pictures: folders of image files, and parquet files of images."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from ...errors import DataError, Problem, listed, plural
from ...lazy import np
from ...registry import FilePath, NotBoolean
from ...shapes import Shape
from ..base import Facts, Sets, Split
from ..file_reading import check_memory, existing
from ..new_inputs import NewInputs, read, shape_of_inputs
from ..splits import Pool
from ..streaming import Stream, Streamed, should_stream, stream_rows, take_rows
from .decoded import decode_all, decoded_file
from .image import DEPTH, FRAMES, ImageFormat, ignored_of, shape_of
from .image_index import (
    ImageIndex,
    folder_index,
    of_classes,
    part_files,
    part_folders,
    row_index,
    unlabelled_index,
)
from .masks import Classes, Colour, check_classes
from .with_masks import facts_with_masks, load_with_masks

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..base import Floats, Values
    from ..input_record import InputRecord
    from ..python_inputs import Columns
    from ..splits import Indices


class Images(Pool):
    """Pictures from a folder that has a folder for each class, or from parquet files as Hugging Face writes them.

    Shapes: inputs (channels, height, width) from 0 to 1, channels first; targets 0 to classes - 1.
    Layouts: `path/CLASS/*.png`; `path/train/CLASS/*.png` beside `path/test` (and `path/valid`); one parquet file; a
        folder of parquet files whose names start with train, valid or test; a folder that Hugging Face's `datasets`
        saved, of Arrow files. There an image is its bytes, or the path of a file inside that folder. `valid_path` and
        `test_path` name parts that lie elsewhere. Parts that no layout gives come out of the training examples:
        `valid: 0.1`, `test: 0.2`.
    Classes: folders in the order of their names; in parquet the numbers of the column `label`, or its texts in order.
        `classes: [cat, dog]` takes some of them, 0 for a cat and 1 for a dog.
    Without labels: `target: null`, for objectives that read no target: all pictures of a folder and its folders, or
        the column of images of parquet files; parts in folders as above.
    Masks: `masks` is a folder of the same layout with a mask for each picture, of its name and size; then targets are
        the classes of the pixels, (height, width). A mask has a class number for each pixel, as grey or as the index
        of a palette, or colours: `classes: {road: [128, 64, 128], ...}`. Pixels of `ignore_index` do not count. With
        `size` masks go the way of the pictures, by the nearest pixel; augmentations move them along.
    Channels: 1 where the first picture is grey, 3 where it is in colour; `channels` turns all into one sort.
    Cost: pictures are decoded when they are loaded, on all cores, and held in memory as 32-bit numbers. Where a set
        streams they are decoded once into a file of bytes, in `DLX_CACHE` or else the platform's folder for caches;
        batches are read from it, and what is trained has the same bits.
    Errors: a path that is missing; a class without images; a file that is no image, or torn; pictures of several
        sizes without `size`; more of them than there is memory for; pictures without a mask, masks of another size
        than the picture, values of pixels that are no class.
    Source: the layouts of torchvision's ImageFolder and of Hugging Face's image data sets. Decoded by Pillow.
    """

    kind: ClassVar[str] = "images"
    path: FilePath = Field(description="folder that has a folder for each class, or parquet file, or folder of those")
    valid_path: FilePath | None = Field(None, description="where the validation part lies; else found in `path`")
    test_path: FilePath | None = Field(None, description="where the test part lies; else found in `path`")
    size: PositiveInt | Annotated[list[PositiveInt], Field(min_length=2, max_length=2)] | None = Field(
        None, description="resize to this height and width, in pixels; null takes pictures that are of one size"
    )
    fit: Literal["stretch", "crop", "pad"] = Field(
        "stretch", description="to another shape: stretch, crop the middle out, or pad with black"
    )
    filter: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] = Field(
        "bilinear", description="of the resizing; all but nearest average over what they shrink"
    )
    channels: Annotated[Literal[1, 3, 4] | None, NotBoolean] = Field(
        None, description="1 grey, 3 colour, 4 colour with transparency; null is as the first picture"
    )
    masks: FilePath | None = Field(None, description="folder of masks, under the names of the pictures")
    valid_masks: FilePath | None = Field(None, description="where those of `valid_path` lie")
    test_masks: FilePath | None = Field(None, description="where those of `test_path` lie")
    classes: Classes | None = Field(
        None,
        description="those that are taken, by folder, name or number, in their order. Of masks: their names in the "
        "order of the values, the value or colour of each by name, or their number; null is the values that occur",
    )
    target: None = Field(None, description="null, where it is written: pictures without labels, in any folders")
    ignore_index: int | Colour | None = Field(None, description="value or colour in masks that does not count")
    image: str = Field("image", description="column of images in a parquet file")
    label: str = Field("label", description="column of classes in a parquet file")
    stream: Stream = "auto"

    source: ClassVar[str] = "images"

    @classmethod
    def first_field(cls) -> str:
        return "path"

    @property
    def unlabelled(self) -> bool:
        """Whether no label is read, by `target: null`."""
        return "target" in self.model_fields_set

    @model_validator(mode="after")
    def _without_labels(self) -> Self:
        for name in ("classes", "label", "masks", "stratify", "label_noise", "labelled"):
            if self.unlabelled and name in self.model_fields_set and getattr(self, name):
                raise ValueError(f"`{name}` is of targets, and `target: null` has none: leave one of the two out")
        return self

    @model_validator(mode="after")
    def _of_masks(self) -> Self:
        if self.masks is None:
            for name in ("valid_masks", "test_masks", "ignore_index"):
                if getattr(self, name) is not None:
                    raise ValueError(
                        f"`{name}` is of masks, and there is no `masks`: name their folder, or leave it out"
                    )
            if self.classes is not None and not isinstance(self.classes, list):
                raise ValueError("`classes` without `masks` is a list of those that are taken, such as [cat, dog]")
            if isinstance(self.classes, list) and len(set(self.classes)) < len(self.classes):
                raise ValueError("`classes` has a class twice: give each once")
            return self
        for part in ("valid", "test"):
            if (getattr(self, f"{part}_path") is None) != (getattr(self, f"{part}_masks") is None):
                raise ValueError(f"`{part}_path` and `{part}_masks` belong together: give both, or neither")
        if self.stratify:
            raise ValueError(
                "`stratify` keeps the proportions of the classes of pictures, and masks have one a pixel"
            )
        check_classes(self.classes, self.ignore_index)
        return self

    @property
    def form(self) -> ImageFormat:
        size = (self.size, self.size) if isinstance(self.size, int) else self.size
        return ImageFormat(self.channels, (size[0], size[1]) if size else None, self.fit, self.filter)

    def facts(self) -> Facts:
        indexes = self._indexes()
        examples, *_ = self.part_sizes(len(indexes["train"].labels))
        first = indexes["train"].first()
        about = ignored_of(first)
        warnings = (Problem(f"{first.name} has {about}", WAYS_OUT[about]),) if about else ()
        shape = shape_of(first, self.form)
        if self.masks is not None:
            return replace(facts_with_masks(self, indexes, shape, examples), warnings=warnings)
        classes = None if self.unlabelled else _classes(indexes)
        return replace(self.facts_of(shape, classes=classes, examples=examples), warnings=warnings)

    def load(self) -> Sets:
        indexes = self._indexes()
        pool = indexes["train"]
        shape = shape_of(pool.first(), self.form)
        if self.masks is not None:
            ignored = list[str]()
            sets = load_with_masks(self, indexes, shape, ignored)
            places = [note for note in ignored if note not in WAYS_OUT]
            return replace(sets, notes=(*_notes([n for n in ignored if n in WAYS_OUT]), *places, *sets.notes))
        parts = dict(zip(("train", "valid", "test"), ((pool, rows) for rows in self.rows(pool.labels)), strict=True))
        parts |= {name: (index, np.arange(len(index.labels))) for name, index in indexes.items() if name != "train"}
        where = f"{self.source} {', '.join(dict.fromkeys(index.where for index in indexes.values()))}"
        count, ignored = sum(len(rows) for _, rows in parts.values()), list[str]()
        if not should_stream(self.stream, count, shape):
            check_memory(
                count, shape, "give a smaller `size`, train on fewer (`train`), or leave out `stream: false`"
            )
            held = [
                self.load_pixels(index, rows, shape, ignored) if len(rows) else None for index, rows in parts.values()
            ]
            return self.assembled(held, where, pool.names, _notes(ignored))
        made = {id(index): self.stream_pixels(index, shape, ignored) for index, rows in parts.values() if len(rows)}
        splits = [
            Split(take_rows(made[id(index)][0], rows), self._targets(index, rows), rows) if len(rows) else None
            for index, rows in parts.values()
        ]
        notes = (*_notes(ignored), *(f"decoded pictures are read from {path}" for _, path in made.values()))
        return self.assembled(splits, where, pool.names, notes)

    def shape_of_inputs(self, inputs: Path | Columns | Values, record: InputRecord) -> Shape:
        return shape_of_inputs(inputs, record.raw, self.form)

    def new_inputs(self, path: Path, record: InputRecord) -> NewInputs:
        return read(path, record.raw, self.form)

    def _indexes(self) -> dict[str, ImageIndex]:
        """Index all parts that have files of their own, "train" among them."""
        found = self._paths_by_part()
        for name, field in (("valid", "valid"), ("test", "test"), ("valid", "folds")):
            if name in found and getattr(self, field):
                raise DataError(
                    f"`{field}` takes examples from the training part, and {found[name][0]} brings them",
                    hint="Keep one of the two.",
                )
        train = self._index(found.pop("train"))
        every = {"train": train} | {name: self._index(paths, train.names) for name, paths in found.items()}
        if self.masks is not None or not isinstance(self.classes, list):
            return every
        return {name: of_classes(index, self.classes) for name, index in every.items()}

    def _paths_by_part(self) -> dict[str, list[Path]]:
        """Return the paths of each part that has files of its own."""
        path = existing(self.path)
        found: dict[str, list[Path]] = {"train": [path]}
        if path.is_dir():
            found = part_files(path) or {k: self._files(p) for k, p in part_folders(path).items()} or found
        if "train" not in found:
            raise DataError(f"{path} has a part {listed(found)} and none to train on", hint="Give one as `path`.")
        named_parts = {"valid": self.valid_path, "test": self.test_path}
        return found | {name: self._files(existing(p)) for name, p in named_parts.items() if p is not None}

    def _files(self, path: Path) -> list[Path]:
        """Return the parquet or Arrow files in the path of a part, or the path itself."""
        return [p for paths in part_files(path).values() for p in paths] or [path] if path.is_dir() else [path]

    def _index(self, paths: list[Path], names: tuple[str, ...] = ()) -> ImageIndex:
        """Index one part; `names` are the classes of the training part."""
        first = paths[0]
        if self.masks is not None:
            if not first.is_dir():
                message = f"{first} is a file, and with `masks` pictures lie in a folder"
                raise DataError(message, hint="Give a folder of pictures, under the names of the masks.")
            return unlabelled_index(first)
        if first.is_dir():
            return unlabelled_index(first) if self.unlabelled else folder_index(first, names)
        return row_index(paths, self.image, None if self.unlabelled else self.label, names, self._home(first))

    def _home(self, file: Path) -> Path:
        """Return the folder that a parquet file's own pictures lie in: the one that the spec names, or its own."""
        named = (one for one in (self.path, self.valid_path, self.test_path) if one is not None and one.is_dir())
        return next((one for one in named if file.is_relative_to(one)), file.parent)

    def load_pixels(self, index: ImageIndex, rows: Indices, shape: Shape, ignored: list[str]) -> Split:
        """Load the chosen pictures into memory."""
        x: Floats = np.empty((len(rows), *shape), np.float32)

        def put(places: list[int], found: npt.NDArray[Any]) -> None:
            x[places] = _unit(found)

        decode_all(index.sources(rows), self.form, shape, put, ignored.append)
        return Split(x, self._targets(index, rows), rows)

    def _targets(self, index: ImageIndex, rows: Indices) -> Any:
        """Return the labels of the chosen pictures; of those without one an array of no columns."""
        return np.zeros((len(rows), 0), np.float32) if self.unlabelled else index.labels[rows]

    def stream_pixels(self, index: ImageIndex, shape: Shape, ignored: list[str]) -> tuple[Streamed, Path]:
        """Return all pictures as a streamed array, and the path of its file."""
        file, path = decoded_file(index, self.form, shape, ignored.append)
        return stream_rows(file, _unit, shape), path


WAYS_OUT = {
    DEPTH: "Save the pictures as arrays, and read those with `arrays`, where all of it counts.",
    FRAMES: "Save each frame as a picture, where all of them count.",
}


def _notes(ignored: list[str]) -> tuple[str, ...]:
    """Return a note for each kind of ignored content, with the number of pictures."""
    return tuple(
        f"{plural(count, 'picture')} with {about}. {WAYS_OUT[about]}" for about, count in Counter(ignored).items()
    )


def _unit(found: npt.NDArray[Any]) -> Floats:
    """Convert bytes to fractions from 0 to 1."""
    fractions: Floats = np.divide(found, np.float32(255), dtype=np.float32)
    return fractions


def _classes(indexes: dict[str, ImageIndex]) -> int:
    names = indexes["train"].names
    return len(names) or max(int(index.labels.max()) for index in indexes.values()) + 1
