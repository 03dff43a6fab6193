"""The mu-law of ITU-T G.711: values from -1 to 1 as classes that lie closer where values are small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...lazy import np

if TYPE_CHECKING:
    from ..base import Labels
    from ..preprocess.sums import Doubles


def encoded(values: Doubles, classes: int) -> Labels:
    """Return the classes of values from -1 to 1: round((f + 1) / 2 mu), f = sign(x) log(1 + mu |x|) / log(1 + mu).

    mu is classes - 1; halves are rounded up. torchaudio: mu_law_encoding.
    """
    mu = classes - 1
    compressed = np.sign(values) * np.log1p(mu * np.abs(values)) / np.log1p(mu)
    found: Labels = np.floor((compressed + 1) / 2 * mu + 0.5).astype(np.int64)
    return found


def decoded(classes: Labels, count: int) -> Doubles:
    """Return the values of classes 0 to count - 1: sign(f) ((1 + mu)^|f| - 1) / mu, f = 2 class / mu - 1."""
    mu = count - 1
    compressed = 2 * classes / mu - 1
    found: Doubles = np.sign(compressed) * np.expm1(np.abs(compressed) * np.log1p(mu)) / mu
    return found


@dataclass(frozen=True)
class MuLaw:
    """The mu-law of a number of classes."""

    classes: int

    def encoded(self, values: Doubles) -> Labels:
        """Return the classes of values from -1 to 1."""
        return encoded(values, self.classes)

    def decoded(self, classes: Labels) -> Doubles:
        """Return the values of classes."""
        return decoded(classes, self.classes)
