"""Pictures of the worst examples on one sheet, each with its caption."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.images import contact_sheet
from ..data.images.image import NAMED
from ..errors import DlxError
from ..lazy import np

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..data import Dataset, Sets
    from .worst import Worst

    Pictures = npt.NDArray[Any]

ACROSS = 8
"""Pictures in a line."""
LONGEST = 20
"""Characters of a line of a caption."""


def pictures_of(source: Dataset, sets: Sets, part: str, places: Sequence[int]) -> Pictures:
    """Return the pictures (n, height, width, 1 or 3), from 0 to 1, of examples of a part, before preprocessing.

    DlxError where the inputs are no pictures.
    """
    plain: dict[str, Any] = {"standardize": "none", "preprocess": []}
    steps = {name: value for name, value in plain.items() if hasattr(source, name)}
    if any(getattr(source, name) != value for name, value in steps.items()):
        sets = source.model_copy(update=steps).load()
    x = np.asarray(getattr(sets, part).take(np.asarray(places, int)).x[:])
    if x.ndim != 4 or x.shape[1] not in NAMED or x.shape[1] == 2:
        shape = "x".join(map(str, x.shape[1:]))
        raise DlxError(f"`--png` shows pictures, and the inputs have the shape {shape}", hint="Leave out `--png`.")
    x = np.moveaxis(x, 1, -1).astype(float)[..., :3]
    low, high = min(0.0, float(x.min(initial=0))), max(1.0, float(x.max(initial=1)))
    found: Pictures = (x - low) / (high - low)
    return found


def pictures_if_any(source: Dataset, sets: Sets, part: str, places: Sequence[int]) -> Pictures | None:
    """Return the pictures of examples as `pictures_of` does; None where the inputs are none."""
    try:
        return pictures_of(source, sets, part, places)
    except DlxError:
        return None


def write(path: Path, found: Sequence[tuple[Worst, Pictures]]) -> None:
    """Write a sheet with the pictures of each part and head, with true and predicted label and loss.

    DataError for another suffix than .png, and where it cannot be written.
    """
    contact_sheet.save(path, [_section(one, pictures) for one, pictures in found], ACROSS)


def _section(one: Worst, pictures: Pictures) -> contact_sheet.Section:
    heading = " ".join(filter(None, (one.part, one.head, "worst first")))
    tiles = [contact_sheet.Tile(picture) for picture in np.moveaxis(pictures, -1, 1)]
    return contact_sheet.Section(heading, [(_caption(one, place), [tile]) for place, tile in enumerate(tiles)])


def _caption(one: Worst, place: int) -> str:
    """Return the name of an example, what is true and predicted, and the loss, a line each."""
    facts = dict(zip(one.titles, one.rows[place], strict=True))
    words = [one.names[place]]
    if "true" in facts and "predicted" in facts:
        words += [f"true {_short(facts['true'])}", f"predicted {_short(facts['predicted'])}"]
    return "\n".join([*(_short(word) for word in words), f"loss {facts['loss']:.3g}"])


def _short(value: Any) -> str:
    text = f"{value:.3g}" if isinstance(value, float) else ", ".join(value) if isinstance(value, list) else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
