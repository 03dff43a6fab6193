"""Index of the pictures of a data set: in folders, one per class, or in a column of parquet or Arrow files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import DataError, did_you_mean, listed
from ...lazy import np
from ..class_subset import chosen, numbers_of
from ..file_reading import class_numbers, existing
from ..tables.parquet_rows import RowFile, class_names, opened, row_files
from .image import SUFFIXES, ImageSource

if TYPE_CHECKING:
    from ..base import Labels
    from ..splits import Indices

PARTS = {
    "train": ("train", "training"),
    "valid": ("valid", "validation", "val", "dev"),
    "test": ("test", "testing"),
}
"""Names of the folders and files of each part."""


@dataclass(frozen=True)
class ImageIndex:
    """Labels of all pictures of a part in order, class names where known, and access to the pictures."""

    where: str
    labels: Labels
    names: tuple[str, ...]
    sources: Callable[[Indices], Iterator[tuple[int, ImageSource]]]
    """Yields, for row numbers, pairs of a place among those and the picture, in any order."""
    content: Callable[[], str]
    """Returns a digest of the files."""
    paths: tuple[Path, ...] = ()
    """The files of pictures without labels."""

    def first(self) -> ImageSource:
        return next(self.sources(np.arange(1)))[1]


def of_classes(index: ImageIndex, classes: Sequence[int | str]) -> ImageIndex:
    """Return the pictures of some classes, in their order as classes. DataError for a class that is not there."""
    count = len(index.names) or int(index.labels.max()) + 1
    numbers = numbers_of(classes, count, index.names, index.where)
    rows, labels = chosen(index.labels, numbers)
    if not len(rows):
        raise DataError(f"{index.where} has no picture of the classes {listed(map(str, classes))}")
    names = tuple(index.names[i] if index.names else str(i) for i in numbers)
    return replace(
        index,
        labels=labels,
        names=names,
        sources=lambda some: index.sources(rows[some]),
        content=lambda: f"{index.content()} {numbers}",
    )


def part_named(stem: str) -> str | None:
    """Return the part that a folder or a file such as `train-00000-of-00001` holds, by its name; None for others."""
    word = stem.lower().replace("_", "-").split("-")[0]
    return next((part for part, names in PARTS.items() if word in names), None)


def part_folders(path: Path) -> dict[str, Path]:
    """Return the folder of each part, where all folders in `path` have names of parts, with one for training;
    else nothing. DataError where others are called like a part, and are none.
    """
    named = [(part_named(p.name), p) for p in subfolders(path)]
    found = {part: p for part, p in named if part and p.name.lower() in PARTS[part]}
    others = {part: p for part, p in named if part and p.name.lower() not in PARTS[part]}
    if "train" in found and others and len(found) + len(others) == len(named):
        part, other = next(iter(others.items()))
        message = (
            f"{path} has the folders {listed(p.name for _, p in named)}, and `{other.name}` is the name of no part"
        )
        hint = f"Call it `{part}`, or give the parts by themselves: `path`, `valid_path`, `test_path`."
        raise DataError(message, hint=hint)
    return found if "train" in found and len(found) == len(named) else {}


def parts_beside(path: Path) -> dict[str, Path]:
    """Return what lies beside a training part, of its sort and called like another part: `val` beside `train`."""
    own, parent = part_named(path.stem), path.absolute().parent
    if own != "train" or not parent.is_dir():
        return {}
    alike = [p for p in sorted(parent.iterdir()) if p.is_dir() == path.is_dir() and p.suffix == path.suffix]
    found = [(part_named(p.stem), p) for p in alike]
    return {part: path.parent / p.name for part, p in reversed(found) if part is not None and part != own}


def part_files(path: Path) -> dict[str, list[Path]]:
    """Return the files of each part in a folder or in its folder `data`; without names of parts, all are for
    training.
    """
    files = row_files(path)
    found: dict[str, list[Path]] = {}
    for file in files:
        found.setdefault(part_named(file.stem) or "", []).append(file)
    if "" in found and len(found) > 1:
        parts = ", ".join(filter(None, found))
        raise DataError(
            f"{path} holds {listed(p.name for p in found[''])} beside files of the parts {parts}",
            hint="Start the names with train, valid or test, or give one file.",
        )
    return {part or "train": paths for part, paths in found.items()}


def subfolders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def folder_index(path: Path, names: tuple[str, ...] = ()) -> ImageIndex:
    """Index a folder with a folder for each class; `names` are the classes of the training part."""
    classes = subfolders(existing(path, folder=True))
    if not classes:
        loose = sum(p.suffix.lower() in SUFFIXES for p in path.iterdir())
        raise DataError(
            f"{path} has no folders{f', and {loose:,} image' * bool(loose)}{'s' * (loose > 1)}: each class wants one",
            hint="Put the images of each class into a folder that is called like it, or write `target: null` for "
            "pictures without labels.",
        )
    strange = [p.name for p in classes if names and p.name not in names]
    if strange:
        hint = did_you_mean(strange[0], names, "the classes")
        raise DataError(f"{path} has a class {listed(strange)}, which the training part does not have", hint=hint)
    names = names or tuple(p.name for p in classes)
    files = [(file, names.index(p.name)) for p in classes for file in images_in(p)]
    labels = np.array([label for _, label in files], np.int64)
    return replace(files_index([file for file, _ in files], path), labels=labels, names=names, paths=())


def unlabelled_index(path: Path) -> ImageIndex:
    """Index all pictures in a folder and its subfolders, in the order of their paths; each has the label 0."""
    return files_index(images_in(existing(path, folder=True)), path)


def files_index(paths: Sequence[Path], where: Path) -> ImageIndex:
    """Index pictures without labels, in their order."""

    def sources(rows: Indices) -> Iterator[tuple[int, ImageSource]]:
        return ((i, ImageSource(str(paths[row]), paths[row])) for i, row in enumerate(rows))

    return ImageIndex(str(where), np.zeros(len(paths), np.int64), (), sources, lambda: _digest(paths), tuple(paths))


def images_in(path: Path) -> list[Path]:
    """Return the image files of one class, those in subfolders included, sorted by path."""
    found = sorted(
        p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file()
    )
    if not found:
        others = sorted({p.suffix or "none" for p in path.rglob("*") if p.is_file()})
        raise DataError(
            f"{path} holds no images{f': its files end in {listed(others)}' * bool(others)}",
            hint=f"Take the folder out, or fill it; images end in {', '.join(sorted(SUFFIXES))}.",
        )
    return found


def row_index(
    paths: Sequence[Path], image: str, label: str | None, names: tuple[str, ...] = (), home: Path | None = None
) -> ImageIndex:
    """Index parquet or Arrow files as Hugging Face writes them, with columns of images and of classes.

    An image is its bytes, or the path of a file inside `home`, by default the folder of the first file. `names` are
    the classes of the training part. Without a column `label` each picture has the label 0.
    """
    home = (home or paths[0].parent).resolve()
    files = [opened(path) for path in paths]
    for file in files:
        _check_columns(file.path, file.schema, image, label)
    where = listed(map(str, paths))
    if not sum(sum(file.counts) for file in files):
        raise DataError(f"{where} holds no rows", hint="Give a file with examples in it.")
    groups = [(file, group, count) for file in files for group, count in enumerate(file.counts)]
    labels: Labels = np.zeros(sum(count for _, _, count in groups), np.int64)
    if label is not None:
        column = [value for file, group, _ in groups for value in file.column(group, label).to_pylist()]
        names = names or class_names(files[0], label)
        labels, names = _classes(column, names, f"column `{label}` of {where}")

    def sources(rows: Indices) -> Iterator[tuple[int, ImageSource]]:
        place = {int(row): i for i, row in enumerate(rows)}
        start = 0
        for file, group, count in groups:
            wanted = [row for row in range(start, start + count) if row in place]
            if wanted:
                cells = file.column(group, image)
                yield from ((place[r], _image_source(cells[r - start].as_py(), file.path, r, home)) for r in wanted)
            start += count

    return ImageIndex(where, labels, names, sources, lambda: _digest([*paths, *_pictures(files, image, home)]))


def _pictures(files: Sequence[RowFile], image: str, home: Path) -> Iterator[Path]:
    """Yield the files of the pictures that are given by their paths."""
    row = 0
    for file in files:
        has_paths = _is_struct(file.schema.field(image).type)
        for group, count in enumerate(file.counts):
            if has_paths and file.lacks(group, image, "bytes"):
                cells = enumerate(file.column(group, image), row)
                sources = (_image_source(cell.as_py(), file.path, number, home) for number, cell in cells)
                yield from (source.content for source in sources if isinstance(source.content, Path))
            row += count


def _digest(paths: Iterable[Path]) -> str:
    """Return a digest of the contents of files, in their order."""
    found = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()


def _check_columns(path: Path, schema: Any, image: str, label: str | None) -> None:
    from pyarrow import types

    for name, field in ((image, "image"), (label, "label")):
        if name is not None and name not in schema.names:
            raise DataError(
                f"{path} has no column `{name}`",
                hint=f"{did_you_mean(name, schema.names, 'the columns')} `{field}` names it.",
            )
    kind = schema.field(image).type
    if not _is_struct(kind) and not types.is_binary(kind) and not types.is_large_binary(kind):
        raise DataError(
            f"column `{image}` of {path} holds {kind}, and images are bytes, or a struct that has `bytes`",
            hint="Give the name of the column of images as `image`.",
        )


def _is_struct(kind: Any) -> bool:
    """Whether a type is a struct with a field `bytes`, as `datasets` writes images."""
    from pyarrow import types

    return types.is_struct(kind) and any(kind.field(i).name == "bytes" for i in range(kind.num_fields))


def _image_source(cell: Any, path: Path, row: int, home: Path) -> ImageSource:
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    inner = cell.get("path") if isinstance(cell, dict) else None
    name = f"row {row:,} of {path}" + (f" ({inner})" if inner else "")
    if content is None and inner:
        return ImageSource(name, _inside(inner, path, name, home))
    if content is None:
        raise DataError(f"{name} has neither bytes nor a path of its image", hint=INSIDE)
    return ImageSource(name, content)


INSIDE = "Write the file with the images inside, as bytes."


def _inside(inner: str, path: Path, name: str, home: Path) -> Path:
    """Return the file of a picture given by its path, absolute or from the folder of the parquet file.

    DataError where it is not there, or lies outside `home`: a file of others must not choose what is read here.
    """
    found = (path.parent / inner).resolve()
    if not found.is_relative_to(home):
        hint = f"Only pictures inside that folder are read: bring them there. Or w{INSIDE[1:]}"
        raise DataError(f"{name} names a picture outside {home}", hint=hint)
    if not found.is_file():
        raise DataError(f"{name} names a picture that is not there", hint=f"Put it back. Or w{INSIDE[1:]}")
    return found


def _classes(column: list[Any], names: tuple[str, ...], where: str) -> tuple[Labels, tuple[str, ...]]:
    """Return class numbers, and their names where known."""
    if (lacking := sum(value is None for value in column)) > 0:
        raise DataError(f"{where} lacks {lacking:,} of {len(column):,} labels", hint="Take those rows out.")
    if all(isinstance(value, str) for value in column):
        names = names or tuple(sorted(set(column)))
        number = {name: i for i, name in enumerate(names)}
        if strange := sorted(set(column) - set(names)):
            hint = did_you_mean(strange[0], names, "the classes")
            raise DataError(
                f"{where} has a class {listed(strange)}, which the training part does not have", hint=hint
            )
        return np.array([number[value] for value in column], np.int64), names
    labels = class_numbers(np.array(column), where)
    if names and labels.max() >= len(names):
        raise DataError(f"{where} holds the class {labels.max()}, and there are {len(names)} classes, from 0 on")
    return labels, names
