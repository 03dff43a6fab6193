"""Imputation of missing values."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from ...lazy import np
from .base import Preprocess

if TYPE_CHECKING:
    from ..base import Floats
    from .base import Statistics


class Fill(Preprocess):
    """Replace missing values (nan) by the mean or median of the training part.

    A table adds it where `missing` asks for it.
    Shapes: unchanged. Each input value has a replacement of its own; 0 where the training part has no value.
    Source: Little & Rubin 2002, Statistical analysis with missing data, section 4.2.
    """

    kind: ClassVar[str] = "fill"
    by: Literal["mean", "median"] = Field("mean", description="of what the training part has there")

    def fit(self, x: Floats) -> Statistics:
        known = ~np.isnan(x).all(0)
        value = np.zeros(x.shape[1:], np.float64)
        middle = np.nanmean if self.by == "mean" else np.nanmedian
        value[known] = middle(np.asarray(x[:, known], np.float64), axis=0)
        return {"value": value}

    def apply(self, x: Floats, found: Statistics) -> Floats:
        return np.where(np.isnan(x), found["value"].astype(x.dtype), x)
