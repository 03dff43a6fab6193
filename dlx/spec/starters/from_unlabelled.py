"""The spec of an autoencoder that fits data without labels: what `dlx new --data PATH --no-target` writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import DataError, plural
from .lines import Draft, held_out, one_line, training_lines, with_comment

if TYPE_CHECKING:
    from ...data.tables.frame import Frame
    from .from_table import TableChoices

SIZE: int = 64
"""Pixels, height and width, that pictures of several sizes are brought to."""
LARGEST: int = 96
"""Pixels up to which pictures of one size stay as they are."""
HALVINGS: int = 4
"""What two halvings divide height and width by."""
ALL = "${data.fields.input.size}"
"""The number of values of an example, in expressions of a spec."""


def pictures_draft(data: Path, path: str, name: str) -> Draft:
    """A convolutional autoencoder for all pictures in a folder. DataError where there are none."""
    from ...data.images.image_index import images_in, part_folders
    from ...data.images.images import Images

    parts = part_folders(data)
    files = images_in(parts.get("train", data))
    size = size_of([_size(file) for file in files[:40]])
    facts = Images(path=data, size=size, target=None).facts()
    channels, height, width = facts.input
    low = (height // HALVINGS, width // HALVINGS)
    code, flat = 32, 32 * low[0] * low[1]
    lines = [
        f"# `dlx new --data {one_line(data.name)}`: {plural(len(files), 'picture')} without labels",
        "dlx: 1",
        f"name: {name}",
        "data:",
        "  images:",
        f"    path: {path}",
        with_comment("    target: null", "no labels: values from 0 to 1, channels first"),
        *([with_comment(f"    size: {size}", "pixels, height and width")] if size else []),
        *held_out(len(files), [part for part in ("valid", "test") if part not in parts]),
        "networks:",
        "  encoder:",
        "    layers:",
        *_downwards(),
        "      - flatten",
        with_comment(f"      - linear: {code}", f"the code of a picture of {facts.input.count:,} values"),
        "  decoder:",
        f"    inputs: {{code: [{code}]}}",
        "    layers:",
        f"      - linear: {flat}",
        "      - relu",
        f"      - reshape: [32, {low[0]}, {low[1]}]",
        *_upwards(channels),
        "objective: autoencoder",
        *training_lines(int(len(files) * 0.7), "{adam: {lr: 1e-3}}"),
        with_comment("  samples: {every: 500, n: 10}", "sheets of reconstructions in RUN/artifacts"),
    ]
    return Draft("\n".join(lines) + "\n", ("no target: an autoencoder, which learns to give the pictures back",))


def size_of(sizes: Sequence[tuple[int, int]]) -> int | list[int] | None:
    """Return the `size` that pictures (width, height) are brought to, which two halvings divide; None for none."""
    if len(set(sizes)) > 1 or max(sizes[0]) > LARGEST:
        return SIZE
    width, height = sizes[0]
    if not (width % HALVINGS or height % HALVINGS):
        return None
    rounded = [-(-one // HALVINGS) * HALVINGS for one in (height, width)]
    return rounded[0] if rounded[0] == rounded[1] else rounded


def _size(file: Path) -> tuple[int, int]:
    """Return width and height of a picture, from its header."""
    from ...data.images.image import ImageSource, open_image

    with open_image(ImageSource(str(file), file)) as image:
        return image.size


def _downwards() -> Iterator[str]:
    for channels in (16, 32):
        yield f"      - conv: {{out_channels: {channels}, kernel_size: 3, stride: 2, padding: 1}}"
        yield "      - relu"


def _upwards(channels: int) -> Iterator[str]:
    for count, last in ((16, "relu"), (channels, "sigmoid")):
        yield f"      - conv_transpose: {{out_channels: {count}, kernel_size: 4, stride: 2, padding: 1}}"
        yield f"      - {last}"


def rows_draft(head: Sequence[str], columns: Sequence[str], rows: int, inputs: int) -> Draft:
    """An autoencoder of dense layers for rows: `head` is the spec up to its columns, `columns` what they become."""
    hidden = 16 if rows < 500 else 32 if rows < 5_000 else 64
    code = max(1, min(8, inputs // 2))
    lines = [
        *head,
        *columns,
        with_comment("    standardize: feature", "numbers to mean 0 and standard deviation 1"),
        *held_out(rows),
        "networks:",
        "  encoder:",
        "    layers:",
        f"      - linear: {hidden}",
        "      - relu",
        with_comment(f"      - linear: {code}", "the code of a row"),
        "  decoder:",
        f"    inputs: {{code: [{code}]}}",
        "    layers:",
        f"      - linear: {hidden}",
        "      - relu",
        with_comment(f'      - linear: "{ALL}"', "the values of a row"),
        "objective: autoencoder",
        *training_lines(int(rows * 0.7), "{adam: {lr: 3e-3}}"),
    ]
    return Draft("\n".join(lines) + "\n", ("no target: an autoencoder, which learns to give the rows back",))


def array_draft(data: Path, path: str, name: str) -> Draft:
    """A dense autoencoder for the array `x` of a file, or its only one. DataError for pictures and the like."""
    from ...data.arrays.array_files import names_in, open_array

    there = [] if data.suffix == ".npy" else names_in(data)
    x = "x" if data.suffix == ".npy" or "x" in there else there[0] if len(there) == 1 else ""
    if not x:
        hint = f"It has {', '.join(there)}; `x` under `data: arrays` names the one."
        raise DataError(f"{data} has no array called x", hint=hint)
    count, *sizes = open_array(data, x).sizes
    if len(sizes) != 1:
        message = f"{data} has examples of {len(sizes)} axes, and the autoencoder that is written is of rows"
        raise DataError(message, hint="`dlx new FILE --starter zoo/autoencoder` has one of pictures.")
    head = [
        f"# `dlx new --data {one_line(data.name)}`: {count:,} rows of {sizes[0]}",
        "dlx: 1",
        f"name: {name}",
        "data:",
        "  arrays:",
        f"    path: {path}",
        with_comment("    target: null", "no labels"),
        *([f"    inputs: {{input: {x}}}"] if x != "x" else []),
    ]
    return rows_draft(head, (), count, sizes[0])


def table_draft(data: Path, path: str, name: str, frame: Frame, plan: TableChoices, columns: Sequence[str]) -> Draft:
    """A dense autoencoder for the columns of a table that can be inputs; `columns` are the lines about them."""
    used = [one for one in frame.names if one not in plan.left_out]
    head = [
        f"# `dlx new --data {one_line(data.name)}`: {len(frame):,} rows, {len(frame.every)} columns",
        "dlx: 1",
        f"name: {name}",
        "data:",
        "  table:",
        f"    path: {path}",
        with_comment("    target: null", "no labels: each column is an input"),
    ]
    found = rows_draft(head, columns, len(frame), len(used))
    left_out = [f"left out: {one_line(column)}, which {why}" for column, why in plan.left_out.items()]
    return Draft(found.text, (*found.notes, *left_out))
