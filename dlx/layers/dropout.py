"""Noise that is switched off for evaluation."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from .activation import Pointwise


class Dropout(Pointwise):
    """While training, set each value to 0 with probability p, and divide the others by 1 - p.

    Source: Srivastava et al. 2014, JMLR 15, section 4. torch: Dropout.
    """

    kind: ClassVar[str] = "dropout"
    p: float = Field(0.5, ge=0, le=1, description="probability that a value is dropped")


class AlphaDropout(Pointwise):
    """While training, set each value to what `selu` tends to with probability p, keeping mean and variance.

    Source: Klambauer et al. 2017, arXiv:1706.02515, section 3. torch: AlphaDropout.
    """

    kind: ClassVar[str] = "alpha_dropout"
    p: float = Field(0.5, ge=0, le=1, description="probability that a value is dropped")
