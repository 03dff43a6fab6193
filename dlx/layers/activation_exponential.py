"""Activations that are exponential below zero."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from .activation import Pointwise


class ELU(Pointwise):
    """x where x > 0, else alpha * (exp(x) - 1)

    Source: Clevert et al. 2015, arXiv:1511.07289, section 3. torch: ELU.
    """

    kind: ClassVar[str] = "elu"
    alpha: float = Field(1.0, description="-alpha is the limit for small x")


class SELU(Pointwise):
    """1.0507 * (x where x > 0, else 1.6733 * (exp(x) - 1)), which preserves mean 0 and variance 1

    They do where the weights begin with `init: lecun_normal`; torch's documentation warns against `he_normal` here,
    whose factor of two is for ReLU.

    Source: Klambauer et al. 2017, arXiv:1706.02515, equation 2. torch: SELU.
    """

    kind: ClassVar[str] = "selu"


class CELU(Pointwise):
    """x where x > 0, else alpha * (exp(x / alpha) - 1)

    Source: Barron 2017, arXiv:1704.07483. torch: CELU.
    """

    kind: ClassVar[str] = "celu"
    alpha: float = Field(1.0, gt=0, description="-alpha is the limit for small x")
