"""Walks through the months: `python months.py` writes months.csv.

Each word is one, two or three months behind the word before it, each as likely as the others. A word that is hidden
is one of three to those who know the word before it, and one of one, two or three to those who know both beside it.
"""

import csv
from pathlib import Path

import numpy as np

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
STEPS = (1, 2, 3)


def sentences(count: int, seed: int) -> list[list[int]]:
    """Return walks of 8 to 16 months, as their numbers."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(8, 17, count)
    starts = rng.integers(0, 12, count)
    return [
        ((start + np.cumsum([0, *rng.choice(STEPS, length - 1)])) % 12).tolist()
        for start, length in zip(starts, lengths, strict=True)
    ]


if __name__ == "__main__":
    with (Path(__file__).parent / "months.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["sentence"])
        writer.writerows([" ".join(MONTHS[i] for i in one)] for one in sentences(1200, 0))
