"""Short reviews whose words do not say whether they praise: `python reviews.py` writes reviews.csv.

Two clauses of one opinion each, of which some are turned round by a negation: "the plot was not bad and i found the
acting great" praises, "the plot was not great and i found the acting bad" does not, and both have the same words. Of
half of the reviews the counts of words say nothing, so that 0.75 is the most that they can tell.
"""

import csv
from pathlib import Path

import numpy as np

SUBJECTS = ("plot", "acting", "music", "ending", "camera", "dialogue")
GOOD = ("good", "great", "clever", "fresh")
BAD = ("bad", "dull", "silly", "stale")
NEGATIONS = ("not", "never", "hardly")
FILLERS = ("", "", "really ", "at times ", "all in all ")
FRAMES = ("the {0} was {2}{1}", "i found the {0} {2}{1}", "{2}{1} was the {0}")


def review(rng: np.random.Generator) -> tuple[str, str]:
    """Return a review and its opinion."""
    praises, turned = bool(rng.integers(2)), rng.integers(2, size=2).astype(bool)
    subjects = rng.choice(SUBJECTS, 2, replace=False)
    clauses = []
    for subject, is_turned in zip(subjects, turned, strict=True):
        word = str(rng.choice(GOOD if praises != is_turned else BAD))
        negation = f"{rng.choice(NEGATIONS)} " if is_turned else ""
        clauses.append(str(rng.choice(FRAMES)).format(subject, word, str(rng.choice(FILLERS)) + negation))
    return " and ".join(clauses), "praises" if praises else "complains"


def reviews(count: int, seed: int) -> list[tuple[str, str]]:
    """Return reviews with their opinions."""
    rng = np.random.default_rng(seed)
    return [review(rng) for _ in range(count)]


if __name__ == "__main__":
    with (Path(__file__).parent / "reviews.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["review", "opinion"])
        writer.writerows(reviews(1500, 0))
