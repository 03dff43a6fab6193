"""Words with those around them, of sentences of a small grammar: `python contexts.py` writes contexts.csv.

A row has a word and the two words before it and the two behind it, where they are there. Words of one class stand in
the same places, and which of them it is is drawn: what is around them is all that their vectors can learn.
"""

import csv
from pathlib import Path

import numpy as np

CLASSES = {
    "animal": ("cat", "dog", "horse", "goat", "mouse"),
    "food": ("bread", "apple", "cheese", "corn", "carrot"),
    "person": ("anna", "ben", "carla", "david", "emma"),
    "vehicle": ("car", "bus", "truck", "van", "tractor"),
    "eat": ("eats", "chews", "tastes", "finds"),
    "drive": ("drives", "parks", "repairs", "sells"),
    "colour": ("red", "green", "white", "black"),
    "size": ("small", "large", "old", "young"),
}
SENTENCES = (
    "the size animal eat the food",
    "the animal eat a colour food",
    "person drive the colour vehicle",
    "today person drive a vehicle",
    "person and the size animal eat a food",
)


def sentences(count: int, seed: int) -> list[list[str]]:
    """Return sentences as their words."""
    rng = np.random.default_rng(seed)
    made = [str(rng.choice(SENTENCES)).split() for _ in range(count)]
    return [[str(rng.choice(CLASSES[word])) if word in CLASSES else word for word in one] for one in made]


def contexts(count: int, seed: int) -> list[tuple[str, str]]:
    """Return the words around each word, and the word."""
    return [
        (" ".join(one[max(0, i - 2) : i] + one[i + 1 : i + 3]), word)
        for one in sentences(count, seed)
        for i, word in enumerate(one)
    ]


if __name__ == "__main__":
    with (Path(__file__).parent / "contexts.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["context", "word"])
        writer.writerows(contexts(600, 0))
