"""Pictures with masks: the class of each pixel as targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import DataError, Problem, listed
from ...lazy import np
from ...shapes import Shape
from ..base import Facts, Sets, Split
from ..file_reading import check_memory, existing
from ..streaming import should_stream, stream_rows, take_rows
from .decoded import decode_all, decoded_file
from .image import ImageSource
from .image_index import ImageIndex, files_index, images_in, part_folders
from .masks import MaskFormat, check_known, check_sizes, paired, values_and_names

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..splits import Indices
    from .images import Images


@dataclass(frozen=True)
class Masks:
    """The masks of all pictures by part, in the order of the pictures; how they are read; names of the classes."""

    indexes: Mapping[str, ImageIndex]
    form: MaskFormat
    names: tuple[str, ...]


def facts_with_masks(source: Images, indexes: Mapping[str, ImageIndex], shape: Shape, examples: int) -> Facts:
    """Return the facts of pictures of `shape` with masks, and their number in the training part.

    DataError where they do not belong together.
    """
    masks = masks_of(source, indexes)
    found = source.facts_of(shape, classes=len(masks.form.values), target=Shape(shape[1:]), examples=examples)
    return replace(found, class_names=masks.names)


def load_with_masks(source: Images, indexes: Mapping[str, ImageIndex], shape: Shape, notes: list[str]) -> Sets:
    """Load pictures of `shape`, and the class of each pixel; what decoding ignores is added to `notes`."""
    masks = masks_of(source, indexes)
    if masks.form.size is None:
        check_sizes(*(_sources(each) for each in (indexes, masks.indexes)))
    own = dict(zip(("train", "valid", "test"), source.rows(indexes["train"].labels), strict=True))
    parts = {part: ("train", rows) for part, rows in own.items()}
    parts |= {part: (part, np.arange(len(one.labels))) for part, one in indexes.items() if part != "train"}
    count = sum(len(rows) for _, rows in parts.values())
    values = Shape((shape[0] + 2, *shape[1:]))  # a class number takes eight bytes
    stream = should_stream(source.stream, count, values)
    if not stream:
        check_memory(count, values, "give a smaller `size`, train on fewer (`train`), or leave out `stream: false`")
    load = _streamed if stream else _in_memory
    made = load(source, indexes, masks, {part: one for part, one in parts.items() if len(one[1])}, shape, notes)
    where = ", ".join(dict.fromkeys(one.where for one in (*indexes.values(), *masks.indexes.values())))
    splits = [made.get(part) for part in ("train", "valid", "test")]
    return source.assembled(splits, f"{source.source} {where}", masks.names)


def _in_memory(
    source: Images,
    indexes: Mapping[str, ImageIndex],
    masks: Masks,
    parts: Mapping[str, tuple[str, Indices]],
    shape: Shape,
    notes: list[str],
) -> dict[str, Split]:
    found, strange = {}, list[str]()
    for part, (of, rows) in parts.items():
        split = source.load_pixels(indexes[of], rows, shape, notes)
        y = np.empty((len(rows), *shape[1:]), np.int64)
        decode_all(masks.indexes[of].sources(rows), masks.form, _flat(shape), partial(_put, y), strange.append)
        found[part] = replace(split, y=y)
    check_known(strange)
    return found


def _put(y: npt.NDArray[np.int64], places: list[int], classes: npt.NDArray[Any]) -> None:
    y[places] = classes[:, 0]


def _streamed(
    source: Images,
    indexes: Mapping[str, ImageIndex],
    masks: Masks,
    parts: Mapping[str, tuple[str, Indices]],
    shape: Shape,
    notes: list[str],
) -> dict[str, Split]:
    found, strange = {}, list[str]()
    for of in indexes:
        x, path = source.stream_pixels(indexes[of], shape, notes)
        file, masks_path = decoded_file(
            masks.indexes[of], masks.form, _flat(shape), strange.append, lambda: check_known(strange)
        )
        y = stream_rows(file, _classes, Shape(shape[1:]), np.int64)
        notes += [f"decoded pictures are read from {path}", f"decoded masks are read from {masks_path}"]
        for part, (whose, rows) in parts.items():
            if whose == of:
                found[part] = Split(take_rows(x, rows), take_rows(y, rows), rows)
    return found


def _flat(shape: Shape) -> Shape:
    return Shape((1, *shape[1:]))


def _classes(stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return stored classes (n, 1, height, width) as class numbers (n, height, width)."""
    return stored[:, 0].astype(np.int64)


def masks_of(source: Images, indexes: Mapping[str, ImageIndex]) -> Masks:
    """Return the mask of each picture, by part. DataError with all names that do not pair up."""
    assert source.masks is not None
    path = existing(source.masks, folder=True)
    folders = {part: one for part, one in part_folders(path).items() if len(indexes) > 1} or {"train": path}
    named = {"valid": source.valid_masks, "test": source.test_masks}
    folders |= {part: existing(one, folder=True) for part, one in named.items() if one is not None}
    if folders.keys() != indexes.keys():
        message = f"{source.path} has the parts {listed(indexes)}, and {path} {listed(folders)}"
        raise DataError(message, hint="Give both folders the same subfolders, or none.")
    found, problems = {}, list[Problem]()
    for part, index in indexes.items():
        try:
            files = paired(index.paths, Path(index.where), images_in(folders[part]), folders[part])
            found[part] = files_index(files, folders[part])
        except DataError as error:
            problems += error.problems
    if problems:
        raise DataError(*problems)
    ignored = source.ignore_index
    alone = () if ignored is None else (ignored if isinstance(ignored, int) else tuple(ignored),)
    values, names = values_and_names(source.classes, alone, lambda: _sources(found), str(path))
    return Masks(found, MaskFormat(1, source.form.size, source.fit, "nearest", values, alone), names)


def _sources(indexes: Mapping[str, ImageIndex]) -> list[ImageSource]:
    return [one for index in indexes.values() for _, one in index.sources(np.arange(len(index.labels)))]
