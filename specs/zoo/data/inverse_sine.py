"""Writes inverse_sine.csv: t is uniform on 0 to 1, and x = t + 0.3 sin(2 pi t) plus normal noise of deviation 0.05.

To tell t of x is a problem with up to three answers. Source: Bishop 1994, Mixture density networks, section 5.
"""

import csv
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_suffix(".csv")
NOISE = 0.05


def rows(n: int = 2000, seed: int = 0) -> list[tuple[float, float]]:
    """Pairs of x and t."""
    rng = np.random.default_rng(seed)
    t = rng.uniform(size=n)
    x = t + 0.3 * np.sin(2 * np.pi * t) + rng.normal(0, NOISE, n)
    return [(round(float(a), 5), round(float(b), 5)) for a, b in zip(x, t, strict=True)]


if __name__ == "__main__":
    with FILE.open("w", newline="") as file:
        csv.writer(file).writerows([("x", "t"), *rows()])
