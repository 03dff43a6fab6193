"""A sheet as the bytes of a file: a PNG of images, points or a histogram, else an .npz."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from math import ceil, sqrt
from typing import TYPE_CHECKING, Any

from ..data.images import contact_sheet
from ..lazy import np
from . import plots

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]
    Integers = npt.NDArray[np.int64]

CHANNELS = (1, 3)
"""Channels of what is shown as an image: grey, or red, green and blue."""


@dataclass(frozen=True)
class Drawing:
    """What is drawn: values (n, *shape) or (rows, columns, *shape), the class of each (n,), and examples beside.

    `real` are examples of the data of the same shape: images are as bright as those, points lie among them.
    """

    values: Floats
    classes: Integers | None = None
    real: Floats | None = None

    @property
    def form(self) -> str:
        """What it is drawn as: "images", "points", "histogram", or "numbers" where it is not."""
        shape = self.values.shape
        if len(shape) in (4, 5) and shape[-3] in CHANNELS:
            return "images"
        if len(shape) in (2, 3) and shape[-1] == 2:
            return "points"
        return "histogram" if len(shape) == 1 or (len(shape) == 2 and shape[-1] == 1) else "numbers"

    @property
    def suffix(self) -> str:
        """Suffix of its file."""
        return ".npz" if self.form == "numbers" else ".png"

    def as_bytes(self, suffix: str = "") -> bytes:
        """Return the content of its file, in the form of the suffix: its own where that is empty."""
        if (suffix or self.suffix) == ".npz":
            return as_npz({"values": self.values, "classes": self.classes})
        if self.form == "images":
            return self._images()
        flat = np.nan_to_num(self.values)
        if self.form == "points":
            return plots.scatter(flat.reshape(-1, 2), self.classes, self.real)
        return plots.histogram(flat.reshape(-1), self.real)

    def _images(self) -> bytes:
        x = self.values
        across = x.shape[1] if x.ndim == 5 else ceil(sqrt(len(x)))
        x = np.nan_to_num(x.reshape(-1, *x.shape[-3:]))
        shown = x if self.real is None else self.real
        low, high = min(0.0, float(shown.min(initial=0))), max(1.0, float(shown.max(initial=1)))
        return contact_sheet.grid((x - low) / (high - low), across)


def as_npz(arrays: Mapping[str, Any]) -> bytes:
    """Return arrays by name, those that are there, as the bytes of an .npz file."""
    packed = BytesIO()
    np.savez_compressed(packed, **{name: one for name, one in arrays.items() if one is not None})
    return packed.getvalue()
