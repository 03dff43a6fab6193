"""Masks: pictures whose pixels are classes, in a folder beside that of the pictures, under the same names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ...errors import DataError, Problem, listed, plural
from ...lazy import np
from ...shapes import Shape
from .image import ImageFormat, ImageSource, check_depth, open_image, resized, shape_of, upright

if TYPE_CHECKING:
    import numpy.typing as npt

    Numbers = npt.NDArray[np.int32]

IGNORED = -100
"""Class number of pixels that do not count: torch's `ignore_index`."""
MOST_SENTENCES = 20
"""Most files that an error names one by one."""
MOST_CLASSES = 2**15
"""Class numbers are stored in two bytes, with a sign."""

Value = int | tuple[int, ...]
Colour = Annotated[list[Annotated[int, Field(ge=0, le=255)]], Field(min_length=3, max_length=3)]
"""Red, green and blue."""
Classes = (
    Annotated[int, Field(ge=2, le=MOST_CLASSES)]
    | Annotated[list[str | Annotated[int, Field(ge=0)]], Field(min_length=2)]
    | Annotated[dict[str, Annotated[int, Field(ge=0, lt=2**16)] | Colour], Field(min_length=2)]
)


@dataclass(frozen=True)
class MaskFormat(ImageFormat):
    """Classes by the values or colours of masks, and the size that all are brought to.

    Attributes:
        values: value or colour of each class, in the order of the class numbers.
        ignored: values or colours that do not count.
    """

    values: tuple[Value, ...] = ()
    ignored: tuple[Value, ...] = ()

    @property
    def coloured(self) -> bool:
        """Whether classes are colours and not numbers."""
        return any(isinstance(one, tuple) for one in (*self.values, *self.ignored))

    def shape_of(self, source: ImageSource) -> Shape:
        """Return the shape (1, height, width), from the header."""
        return Shape((1, *shape_of(source, self)[1:]))

    def decode(self, source: ImageSource, report: Callable[[str], object] | None = None) -> npt.NDArray[Any]:
        """Return the class of each pixel, (height, width, 1) as int16, and `IGNORED` for those that do not count.

        `report` is called with a sentence on values that are no class.
        """
        raw = raw_values(source, coloured=self.coloured)
        numbers, strange = _numbered(raw, self)
        if strange.any():
            rows, columns = np.nonzero(strange)
            value = _described(int(raw[rows[0], columns[0]]), coloured=self.coloured)
            sentence = f"{source.name} has {plural(len(rows), 'pixel')} of {value}, which is no class: the first at "
            sentence += f"row {rows[0]}, column {columns[0]} from 0 on"
            if report is None:
                raise DataError(sentence, hint=NO_CLASS)
            report(sentence)
        return _resized(numbers, self).astype(np.int16)[..., None]


NO_CLASS = "`classes` names each class with its value or colour, `ignore_index` those that do not count."


def raw_values(source: ImageSource, *, coloured: bool) -> Numbers:
    """Return the value of each pixel (height, width): the index in a palette, of a colour 2^16 r + 2^8 g + b.

    Errors: DataError where classes are numbers and the mask is in colour.
    """
    with open_image(source) as image:
        check_depth(image, source)
        whole = upright(image)
        if coloured:
            parts: Any = np.asarray(whole.convert("RGB"), np.int32)
            mixed: Numbers = (parts[..., 0] << 16) | (parts[..., 1] << 8) | parts[..., 2]
            return mixed
        if whole.mode not in ("1", "L", "P") and not whole.mode.startswith("I;16"):
            message = f"{source.name} is in colour ({whole.mode}), and the classes of masks are numbers"
            raise DataError(message, hint="`classes: {road: [128, 64, 128], ...}` names the colour of each class.")
        return np.asarray(whole).astype(np.int32)


def _numbered(raw: Numbers, form: MaskFormat) -> tuple[Numbers, Any]:
    """Return the class of each pixel, and which have a value that is none."""
    found, places = np.unique(raw, return_inverse=True)
    number = {_code(value): i for i, value in enumerate(form.values)} | dict.fromkeys(
        map(_code, form.ignored), IGNORED
    )
    each = np.array([number.get(int(value), -1) for value in found], np.int32)
    numbers: Numbers = each[places].reshape(raw.shape)
    return numbers, numbers == -1


def _code(value: Value) -> int:
    return value if isinstance(value, int) else (value[0] << 16) | (value[1] << 8) | value[2]


def _described(code: int, *, coloured: bool) -> str:
    return f"the colour [{code >> 16}, {code >> 8 & 255}, {code & 255}]" if coloured else f"the value {code}"


def _resized(numbers: Numbers, form: MaskFormat) -> Numbers:
    """Resize a map as the pictures are, by its nearest pixel; what `fit: pad` adds does not count."""
    from PIL import Image

    if form.size is None:
        return numbers
    image = resized(Image.fromarray(numbers), ImageFormat(None, form.size, form.fit, "nearest"), IGNORED)
    return np.asarray(image, np.int32)


# --- which mask belongs to which picture ----------------------------------------------------------------------------


def paired(pictures: Sequence[Path], path: Path, masks: Sequence[Path], masks_path: Path) -> list[Path]:
    """Return the mask of each picture: the file of its name in the other folder, whatever its format.

    Errors: DataError for pictures without a mask, masks without a picture, and two of one name.
    """
    problems: list[Problem] = []
    by_name = [_by_name(files, folder, problems) for files, folder in ((pictures, path), (masks, masks_path))]
    there, wanted = by_name[1], by_name[0]
    for some, others, noun, other in ((wanted, there, "picture", "mask"), (there, wanted, "mask", "picture")):
        folder = masks_path if noun == "picture" else path
        if lacking := [str(file) for name, file in some.items() if name not in others]:
            message = f"{plural(len(lacking), noun)} without a {other} in {folder}: {listed(lacking)}"
            hint = f"A {other} has the name of its {noun}, such as {Path(lacking[0]).stem}.png."
            problems.append(Problem(message, hint))
    if problems:
        raise DataError(*problems)
    return [there[_name(file, path)] for file in pictures]


def _name(file: Path, folder: Path) -> str:
    return str(file.relative_to(folder).with_suffix(""))


def _by_name(files: Iterable[Path], folder: Path, problems: list[Problem]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in files:
        name = _name(file, folder)
        if name in found:
            problems.append(Problem(f"{found[name]} and {file} have one name", "Take one of the two out."))
        found[name] = file
    return found


def check_sizes(pictures: Sequence[ImageSource], masks: Sequence[ImageSource]) -> None:
    """Raise a DataError with each mask of another size than its picture, from the headers."""
    plain = ImageFormat()
    with ThreadPoolExecutor() as threads:
        sizes = [list(threads.map(lambda one: shape_of(one, plain)[1:], some)) for some in (pictures, masks)]
    wrong = [
        Problem(f"{mask.name} has {b[1]}x{b[0]} pixels, and its picture {picture.name} {a[1]}x{a[0]}", SIZES)
        for picture, mask, a, b in zip(pictures, masks, *sizes, strict=True)
        if a != b
    ]
    if wrong:
        raise DataError(*_first(wrong, "masks"))


SIZES = "A mask has a pixel for each pixel of its picture; `size` brings both to one size."


def _first(problems: Sequence[Problem], noun: str) -> list[Problem]:
    rest = len(problems) - MOST_SENTENCES
    return [*problems[:MOST_SENTENCES], *([Problem(f"and {rest:,} {noun} more")] if rest > 0 else [])]


def check_known(sentences: Sequence[str]) -> None:
    """Raise a DataError with what `MaskFormat.decode` has reported."""
    if sentences:
        raise DataError(*_first([Problem(sentence, NO_CLASS) for sentence in sorted(sentences)], "masks"))


# --- classes --------------------------------------------------------------------------------------------------------


def check_classes(classes: Any, ignored: Any) -> None:
    """Raise a ValueError where classes contradict each other, or `ignore_index`."""
    names = list(classes) if isinstance(classes, list | dict) else []
    if number := next((name for name in names if isinstance(name, int)), None):
        raise ValueError(f"`classes` names the values of masks from 0 on, and {number} is no name: write words")
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"`classes` has `{twice[0]}` twice: give each class a name of its own")
    values = list(classes.values()) if isinstance(classes, dict) else []
    if twice := [value for value in values if values.count(value) > 1]:
        raise ValueError(f"`classes` gives {twice[0]} to two classes: each has a value of its own")
    sorts = {isinstance(value, list) for value in (*values, *([] if ignored is None else [ignored]))}
    if len(sorts) > 1 or (True in sorts and not values):
        raise ValueError("`classes` and `ignore_index` are all values, or all colours [red, green, blue]")
    numbers = values or list(range(classes if isinstance(classes, int) else len(names)))
    if ignored is not None and ignored in numbers:
        raise ValueError(f"`ignore_index` {ignored} is the value of a class too: take it out of `classes`")


def values_and_names(
    classes: Any, ignored: Sequence[Value], sources: Callable[[], Sequence[ImageSource]], where: str
) -> tuple[tuple[Value, ...], tuple[str, ...]]:
    """Return the value of each class, and the names where the spec has some.

    Without `classes` they are the values that occur, which are 0, 1, ... up to the largest; all masks are read.

    Errors: DataError where values are left out.
    """
    if isinstance(classes, Mapping):
        return tuple(tuple(v) if isinstance(v, list) else v for v in classes.values()), tuple(classes)
    if isinstance(classes, int):
        return tuple(range(classes)), ()
    if classes is not None:
        return tuple(range(len(classes))), tuple(classes)
    found = [value for value in values_in(tuple(map(_stamp, sources()))) if value not in ignored]
    if found != list(range(len(found))):
        message = f"the masks in {where} hold the values {listed(map(str, found), 6)}, and classes count from 0 on"
        hint = "`classes: {ground: 0, figure: 255}` names the value of each class, `classes: 4` their number, and "
        raise DataError(message, hint=f"{hint}`ignore_index: 255` values that do not count.")
    return tuple(range(len(found))), ()


def _stamp(source: ImageSource) -> tuple[str, int, int]:
    status = Path(source.name).stat()
    return source.name, status.st_mtime_ns, status.st_size


@lru_cache(maxsize=8)
def values_in(files: tuple[tuple[str, int, int], ...]) -> tuple[int, ...]:
    """Return the different values in masks, each a path with its time of change and its size."""

    def of(file: tuple[str, int, int]) -> set[int]:
        raw = raw_values(ImageSource(file[0], Path(file[0])), coloured=False)
        return {int(one) for one in np.unique(raw)}

    with ThreadPoolExecutor() as threads:
        return tuple(sorted(set[int]().union(*threads.map(of, files))))
