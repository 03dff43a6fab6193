"""The spec that fits a file or folder of data: what `dlx new --data` writes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import DataError
from .from_table import table_draft
from .from_text import is_text, text_draft
from .from_unlabelled import array_draft, pictures_draft
from .lines import Draft, held_out, listing, one_line, quoted, training_lines, with_comment

LARGEST = 96
"""Pixels up to which pictures of one size stay as they are."""
SIZE = 64
CHANNELS = (1, 3, 4)
ARRAYS = (".npz", ".npy", ".safetensors", ".pt")


def draft(data: Path, file: Path, name: str, target: str | None = None, unlabelled: bool = False) -> Draft:
    """A spec called `name`, to be written at `file`, for the data at `data`. DataError where it cannot be learned.

    `unlabelled` data is given back by an autoencoder; so are pictures that lie in no folders of classes.
    """
    if not data.exists():
        raise DataError(
            f"there is no {data}", hint="Name a CSV or parquet file, arrays, a text, or a folder of pictures."
        )
    path = quoted(Path(os.path.relpath(data.absolute(), file.absolute().parent)).as_posix())
    if is_text(data):
        if target is not None:
            raise DataError(f"{data} is a text and has no columns", hint="Leave `--target` out.")
        if unlabelled:
            raise DataError(f"{data} is a text, whose next token is learned", hint="Leave `--no-target` out.")
        return text_draft(data, path, name)
    if data.is_dir() or data.suffix in ARRAYS:
        if target is not None:
            raise DataError(f"{data} has no columns, and `--target` names one", hint="Leave `--target` out.")
        if unlabelled:
            return pictures_draft(data, path, name) if data.is_dir() else array_draft(data, path, name)
        return _pictures(data, path, name) if data.is_dir() else _arrays(data, path, name)
    return table_draft(data, path, name, target, unlabelled)


def _pictures(data: Path, path: str, name: str) -> Draft:
    from ...data.images.image import SUFFIXES
    from ...data.images.image_index import images_in, part_folders, subfolders
    from ...data.images.images import Images

    parts = part_folders(data)
    classes = subfolders(parts.get("train", data))
    if not classes and any(one.suffix.lower() in SUFFIXES for one in parts.get("train", data).iterdir()):
        return pictures_draft(data, path, name)
    if not any(images_in(folder) for folder in classes):
        hint = "`dlx new --data` takes a folder that has a folder of pictures for each class: `pets/cat/1.png`."
        raise DataError(f"{data} has no pictures in folders of classes", hint=hint)
    sizes = {_size(file) for folder in classes for file in images_in(folder)[:20]}
    size = SIZE if len(sizes) > 1 or max(max(sizes)) > LARGEST else None
    facts = Images(path=data, size=size).facts()
    many = sum(len(images_in(folder)) for folder in classes)
    lines = [
        f"# `dlx new --data {one_line(data.name)}`: {many:,} pictures, {len(classes)} classes",
        "dlx: 1",
        f"name: {name}",
        "data:",
        "  images:",
        with_comment(f"    path: {path}", f"{listing([folder.name for folder in classes])}"),
        *([with_comment(f"    size: {size}", "pixels, height and width")] if size else []),
        *held_out(many, [part for part in ("valid", "test") if part not in parts]),
        "    standardize: channel",
        *_convolutions(tuple(facts.input), int(facts.classes or 1)),
        *training_lines(int(many * 0.7), "{adam: {lr: 1e-3}}"),
    ]
    return Draft("\n".join(lines) + "\n", (f"target: the folders, {len(classes)} classes",))


def _size(file: Path) -> tuple[int, int]:
    """Return width and height of a picture, from its header."""
    from ...data.images.image import ImageSource, open_image

    with open_image(ImageSource(str(file), file)) as image:
        return image.size


def _convolutions(shape: tuple[int, ...], outputs: int, objective: str = "classification") -> Iterator[str]:
    """A small network of convolutions for a signal or pictures, that ends in `outputs` values."""
    yield "network:"
    yield "  layers:"
    smallest, width = min(shape[1:]), 16
    while smallest >= 4 and width <= 64:
        yield f"    - conv: {{out_channels: {width}, kernel_size: 3, padding: 1, bias: false}}"
        yield "    - batch_norm"
        yield "    - relu"
        yield "    - max_pool: 2"
        smallest, width = smallest // 2, width * 2
    yield "    - global_avg_pool" if width > 16 else "    - flatten"
    yield f"    - linear: {outputs}"
    yield f"objective: {objective}"


def _arrays(data: Path, path: str, name: str) -> Draft:
    from ...data.arrays.array_files import names_in, open_array
    from ...data.arrays.arrays import Arrays

    options: dict[str, Any] = {"path": data}
    named: list[str] = []
    if data.suffix == ".npy":
        hint = "Save both in one .npz: x, y; or write `--no-target` for rows without labels."
        raise DataError(f"{data} holds one array, and the targets lie elsewhere", hint=hint)
    there = names_in(data)
    if not {"x", "y"} <= set(there):
        x = next((one for one in ("x_train", "X_train", "X", "inputs", "images", "data") if one in there), None)
        y = next((one for one in ("y_train", "Y", "targets", "labels", "target", "label") if one in there), None)
        if x is None or y is None:
            hint = f"It has {listing(there, 8)}; `x` and `y` under `data: arrays` name the two."
            raise DataError(f"{data} has no arrays called x and y", hint=hint)
        options |= {"x": x, "y": y}
        named = [f"    x: {quoted(x)}", f"    y: {quoted(y)}"]
    count, *sizes = open_array(data, options.get("x", "x")).sizes
    if channels := _channels(sizes):
        options |= {"channels": channels}
        named.append(f"    channels: {channels}")
    facts = Arrays(**options).facts()
    outputs = facts.classes or (facts.target or (1,))[0]
    objective = "classification" if facts.classes else "regression"
    shape = tuple(facts.input)
    lines = [
        f"# `dlx new --data {one_line(data.name)}`: {count:,} examples of {'x'.join(map(str, shape))}",
        "dlx: 1",
        f"name: {name}",
        "data:",
        "  arrays:",
        f"    path: {path}",
        *named,
        *held_out(count, [part for part in ("valid", "test") if f"{part}_x" not in there]),
        "    standardize: feature" if len(shape) == 1 else "    standardize: channel",
        *(_convolutions(shape, outputs, objective) if len(shape) > 1 else _dense(count, outputs, objective)),
        *training_lines(int(count * 0.7), "{adam: {lr: 1e-3}}"),
    ]
    kind = f"{facts.classes} classes" if facts.classes else "values"
    return Draft("\n".join(lines) + "\n", (f"target: {options.get('y', 'y')}, {kind}",))


def _channels(sizes: list[int]) -> str:
    """The axis of channels, where it is not the first one: nowhere in square pictures, or the last one."""
    if len(sizes) == 2 and sizes[0] == sizes[1] > max(CHANNELS):
        return "none"
    return "last" if len(sizes) == 3 and sizes[-1] in CHANNELS and sizes[0] not in CHANNELS else ""


def _dense(count: int, outputs: int, objective: str) -> Iterator[str]:
    hidden = 32 if count < 5_000 else 128
    yield from ("network:", "  layers:", f"    - linear: {hidden}", "    - relu", f"    - linear: {outputs}")
    yield f"objective: {objective}"
