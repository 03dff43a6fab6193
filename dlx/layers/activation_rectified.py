"""Piecewise linear activations."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from .activation import Pointwise
from .base import Example, Saved


class ReLU(Pointwise):
    """max(0, x)

    Source: Nair & Hinton 2010, "Rectified linear units improve restricted Boltzmann machines". torch: ReLU.
    """

    kind: ClassVar[str] = "relu"

    saved: ClassVar[Saved] = ("output",)


class ReLU6(Pointwise):
    """min(max(0, x), 6)

    Source: Howard et al. 2017, arXiv:1704.04861. torch: ReLU6.
    """

    kind: ClassVar[str] = "relu6"


class Threshold(Pointwise):
    """x where x is above the threshold, else `value`

    Source: Konda et al. 2014, arXiv:1402.3337, section 3. torch: Threshold.
    """

    kind: ClassVar[str] = "threshold"
    threshold: float = Field(description="x passes where it is above")
    value: float = Field(description="what stands for every other x")

    example: ClassVar[Example] = Example({"threshold": 0.5, "value": 0}, [(4, 5, 5)], shape=(4, 5, 5))
