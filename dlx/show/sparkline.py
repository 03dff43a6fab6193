"""Curves of one line: the values of a metric as characters of eight heights."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, log

BLOCKS, ASCII = "▁▂▃▄▅▆▇█", "_.-:=+*#"
"""Eight heights; the second for terminals that lack the first."""
LOG_FROM = 30.0
"""Ratio of the largest to the least value from which heights are those of logarithms."""


def sparkline(values: Sequence[float], width: int, levels: str = BLOCKS) -> str:
    """Draw values as at most `width` characters between the least and the largest; a space is what is not finite.

    Each character is the mean of neighbours, as many for each but for rounding. Where all are above 0 and the largest
    is many times the least, as losses are, heights are those of logarithms.
    """
    count = min(width, len(values))
    means = [_mean(values[i * len(values) // count : (i + 1) * len(values) // count]) for i in range(count)]
    finite = [value for value in means if isfinite(value)]
    if finite and min(finite) > 0 and max(finite) / min(finite) >= LOG_FROM:
        means = [log(value) if isfinite(value) else value for value in means]
        finite = [value for value in means if isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    return "".join(_level(value, low, high, levels) if isfinite(value) else " " for value in means)


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if isfinite(value)]
    return sum(value / len(finite) for value in finite) if finite else float("nan")


def _level(value: float, low: float, high: float, levels: str) -> str:
    if low == high:
        return levels[len(levels) // 2 - 1]
    # halves first: the difference of two large numbers may not be finite
    place = (value / 2 - low / 2) / (high / 2 - low / 2)
    return levels[min(len(levels) - 1, int(place * len(levels)))]


class History:
    """Values of a metric over a training, thinned by half whenever they are `most`."""

    def __init__(self, most: int = 256) -> None:
        self.most = most
        self.values: list[float] = []
        self.last = float("nan")
        self._every, self._count = 1, 0

    def add(self, value: float) -> None:
        """Add a value; it is left out of the curve, not as the last one, where the curve has every n-th alone."""
        self.last = value
        if self._count % self._every == 0:
            self.values.append(value)
        self._count += 1
        if len(self.values) == self.most:
            del self.values[1::2]
            self._every *= 2
