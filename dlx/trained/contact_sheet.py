"""Pictures of the worst examples on one sheet, each with its title."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from io import BytesIO
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.images.image import NAMED
from ..errors import DlxError
from ..lazy import np
from .row_files import write_whole

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..data import Dataset, Sets
    from .worst import Worst

    Pictures = npt.NDArray[Any]

ACROSS = 8
"""Pictures in a row."""
INCHES = 1.6
"""Width of a picture with its margins."""
DOTS = 110
LONGEST = 20
"""Characters of a line of a title."""


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


def as_png(found: Sequence[tuple[Worst, Pictures]]) -> bytes:
    """Return a sheet with the pictures of each part and head, with true and predicted label and loss."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tall = [ceil(len(one) / ACROSS) for one, _ in found]
    wide = min(ACROSS, max(len(one) for one, _ in found))
    figure = Figure(
        figsize=(max(wide, 2) * INCHES, sum(tall) * INCHES * 1.35 + 0.4 * len(found)), layout="constrained"
    )
    FigureCanvasAgg(figure)  # without pyplot, which holds figures in a global list
    sections = figure.subfigures(len(found), 1, squeeze=False, height_ratios=[max(one, 1) for one in tall])
    for section, (one, pictures), rows in zip(sections.flat, found, tall, strict=True):
        section.suptitle(" ".join(filter(None, (one.part, one.head, "worst first"))), fontsize=9, weight="bold")
        axes = section.subplots(max(rows, 1), wide, squeeze=False).flat
        for place, ax in enumerate(axes):
            ax.set_axis_off()
            if place < len(one):
                picture = pictures[place]
                grey = picture.shape[-1] == 1
                ax.imshow(picture[..., 0] if grey else picture, cmap="gray", vmin=0, vmax=1)
                ax.set_title(_title(one, place), fontsize=7, parse_math=False)
    packed = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of glyphs that the font lacks; they are shown as boxes
        figure.savefig(packed, format="png", dpi=DOTS, metadata={"Software": None})
    return packed.getvalue()


def _title(one: Worst, place: int) -> str:
    """Return the name of an example, what is true and predicted, and the loss, a line each."""
    facts = dict(zip(one.titles, one.rows[place], strict=True))
    words = [one.names[place]]
    if "true" in facts and "predicted" in facts:
        words += [f"true {_short(facts['true'])}", f"predicted {_short(facts['predicted'])}"]
    return "\n".join([*(_short(word) for word in words), f"loss {facts['loss']:.3g}"])


def _short(value: Any) -> str:
    text = f"{value:.3g}" if isinstance(value, float) else ", ".join(value) if isinstance(value, list) else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def write(path: Path, found: Sequence[tuple[Worst, Pictures]]) -> None:
    """Write the sheet. DlxError for another suffix than .png, RunError where it cannot be written."""
    check_suffix(path)
    write_whole(path, as_png(found))


def check_suffix(path: Path) -> None:
    """Raise DlxError for another suffix than .png."""
    if path.suffix != ".png":
        raise DlxError(f"{path} ends in {path.suffix or 'nothing'}", hint="Pictures are written to .png.")
