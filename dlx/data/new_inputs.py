"""Inputs that come after training, from a file or a folder of arrays or pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import DataError
from ..lazy import np
from ..shapes import Shape, by_x
from .arrays.array_files import READERS, names_in, open_array
from .file_reading import check_memory, existing, files_inside, real_numbers
from .images.image import NAMED, SUFFIXES, ImageFormat, ImageSource, decode, shape_of

if TYPE_CHECKING:
    from .base import Floats, Values


@dataclass(frozen=True)
class NewInputs:
    """Raw inputs (n, *shape) and their names, such as ids; empty where they are numbered."""

    x: Values
    names: tuple[str, ...] = ()
    more: Mapping[str, Values] = field(default_factory=dict)
    """Further inputs by name."""
    table: Any = None
    """All rows that were read, as pyarrow's table, where the inputs are columns of a file."""
    units: Any = None
    """Mean, deviation and naive error of the series of each input (n, 3, values), where these are series."""


def read(path: Path, raw: Shape, form: ImageFormat | None = None) -> NewInputs:
    """Read arrays or pictures of shape `raw`. DataError where the path holds something else."""
    if path.suffix in READERS:
        return arrays(path, raw)
    if existing(path).is_dir() or path.suffix.lower() in SUFFIXES:
        return pictures(path, raw, form)
    known = ", ".join([*READERS, *sorted(SUFFIXES)])
    raise DataError(
        f"{path} ends in {path.suffix or 'nothing'}, and inputs of shape {raw} are read from arrays and pictures",
        hint=f"Give a folder of pictures, or a file that ends in one of {known}.",
    )


Layout = Literal["first", "last", "none"]


def shape_of_inputs(
    inputs: Path | Any, raw: Shape, form: ImageFormat | None = None, layout: Layout = "first", name: str = "x"
) -> Shape:
    """Return the shape of new pictures, from their headers, where they have the channels of `raw` and any size; else
    `raw`.

    `layout` says where the axis of channels is, as `channels` of arrays does; `name` is that of the array in a file.
    """
    if raw.rank != 3:
        return raw
    if not isinstance(inputs, Path):
        sizes = tuple(getattr(inputs, "shape", ()))
    elif inputs.suffix in READERS:
        sizes = open_array(inputs, named(inputs, name)).sizes
    elif existing(inputs).is_dir() or inputs.suffix.lower() in SUFFIXES:
        first = _images(inputs)[0]
        return shape_of(ImageSource(str(first), first), ImageFormat(raw[0], form.size if form is not None else None))
    else:
        return raw
    if layout == "none":
        found = (1, *sizes[-2:]) if len(sizes) == 3 else ()
    else:
        one = sizes[-3:]
        found = (one[-1], *one[:-1]) if layout == "last" else one
    fits = len(found) == 3 and len(sizes) in (3, 4) and found[0] == raw[0] and all(found)
    return Shape(found, raw.dtype) if fits else raw


def arrays(path: Path, raw: Shape, name: str = "x") -> NewInputs:
    """Read the array `name` of a file, or its only array. Unsigned bytes are divided by 255."""
    found = open_array(path, named(path, name)).read()
    return NewInputs(shaped(scaled(found, path), raw, path))


def by_name(path: Path, shapes: Mapping[str, Shape], main: str) -> NewInputs:
    """Read an array for each input of `shapes`, by its name; `main` is the first. DataError where one is missing."""
    listed = ", ".join(f"`{name}` (n, {', '.join(map(str, shape))})" for name, shape in shapes.items())
    hint = f"Give a file .npz with the arrays {listed}."
    if path.suffix != ".npz":
        message = f"{path} ends in {path.suffix or 'nothing'}, and the network takes {len(shapes)} inputs by name"
        raise DataError(message, hint=hint)
    there = names_in(existing(path, folder=False))
    if absent := [name for name in shapes if name not in there]:
        missing = ", ".join(f"`{name}`" for name in absent)
        raise DataError(f"{path} lacks {missing}: it holds {', '.join(there) or 'no array'}", hint=hint)
    return of_fields({name: open_array(path, name).read() for name in shapes}, shapes, main, path, hint)


def of_fields(
    arrays: Mapping[str, Values], shapes: Mapping[str, Shape], main: str, where: Path, hint: str = ""
) -> NewInputs:
    """Return the inputs of `shapes` from arrays by name; `main` is the first. DataError where they are not those."""
    known = ", ".join(f"`{name}` (n, {', '.join(map(str, shape))})" for name, shape in shapes.items())
    hint = hint or f"Give the arrays {known}."
    if set(arrays) != set(shapes):
        has = ", ".join(f"`{name}`" for name in arrays)
        raise DataError(f"{where} are the arrays {has}, and the network takes {known}", hint=hint)
    found = {name: _typed(arrays[name], shape, where, name) for name, shape in shapes.items()}
    counts = {name: len(values) for name, values in found.items()}
    if len(set(counts.values())) > 1:
        lengths = ", ".join(f"`{name}` {count:,}" for name, count in counts.items())
        raise DataError(f"the arrays of {where} differ in length: {lengths}", hint=hint)
    return NewInputs(found.pop(main), more=found)


def _typed(values: Values, shape: Shape, path: Path, name: str) -> Values:
    """Return the array of an input in its dtype. DataError where it holds something else."""
    if shape.dtype == "float":
        return shaped(scaled(values, path), shape, path)
    if values.dtype.kind not in {"int": "iu", "bool": "b"}[shape.dtype]:
        message = f"`{name}` of {path} holds {values.dtype}, and the network was trained on {shape.dtype}"
        raise DataError(message, hint="Save it in that type.")
    return shaped(values, shape, path)


def named(path: Path, name: str) -> str:
    """Return `name`, or the name of the only array in the file."""
    if path.suffix != ".npz":
        return name
    inside_it = names_in(path)
    return inside_it[0] if len(inside_it) == 1 else name


def scaled(values: Values, path: Path) -> Values:
    """Return real numbers; unsigned bytes are divided by 255."""
    plain = real_numbers(values, str(path))
    return plain / np.float32(255) if values.dtype == np.uint8 else plain


def shaped(x: Values, raw: Shape, path: Path) -> Values:
    """Return inputs (n, *raw); a single input (*raw) becomes (1, *raw). DataError for other shapes."""
    if tuple(x.shape) == tuple(raw):
        return x[None]
    if tuple(x.shape[1:]) != tuple(raw) or not len(x):
        rows = ", ".join(map(str, ("n", *raw)))
        raise DataError(
            f"{path} holds an array of shape {Shape(x.shape)}, and the network was trained on inputs of shape {raw}",
            hint=f"Give an array of shape ({rows}) for n examples.",
        )
    return x


def pictures(path: Path, raw: Shape, form: ImageFormat | None = None) -> NewInputs:
    """Read one picture, or all in a folder and its subfolders, in the order of their paths."""
    if raw.rank != 3 or raw[0] not in NAMED:
        found = "a folder" if path.is_dir() else "a picture"
        raise DataError(
            f"{path} is {found}, and the network was trained on inputs of shape {raw}, which are no pictures",
            hint="Give an array: a file .npy or .npz.",
        )
    sources = [ImageSource(str(file), file) for file in _images(path)]
    check_memory(len(sources), raw, "give fewer pictures")
    full = ImageFormat(raw[0], form.size, form.fit, form.filter) if form is not None else ImageFormat(raw[0])
    x = np.stack([_pixels(source, full, raw) for source in sources])
    return NewInputs(x, _names(path, [source.content for source in sources if isinstance(source.content, Path)]))


def _images(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(
        p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file()
    )
    if not found:
        raise DataError(f"{path} holds no pictures", hint=files_inside(path))
    return found


def _names(path: Path, found: Sequence[Path]) -> tuple[str, ...]:
    return tuple(str(p.relative_to(path)) if path.is_dir() else p.name for p in found)


def _pixels(source: ImageSource, form: ImageFormat, raw: Shape) -> Floats:
    pixels = np.moveaxis(decode(source, form), -1, 0)
    if pixels.shape != tuple(raw):
        raise DataError(
            f"{source.name} has {by_x(pixels.shape[1:])} pixels, and the first picture {by_x(raw[1:])}",
            hint="Give pictures of one size; a data set of `images` with a `size` makes them so.",
        )
    scaled_to_one: Floats = np.ascontiguousarray(pixels, np.float32) / np.float32(255)
    return scaled_to_one
