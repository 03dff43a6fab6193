"""Data in a plane, and networks with weights by hand, for kinds that look at features."""

from pathlib import Path

import numpy as np

from dlx.analysis.subject import Subject, of_spec


def noisy_plane(count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Points whose first value tells the class, -1 or 1, and whose second is noise, a thousand times as large."""
    rng = np.random.default_rng(0)
    classes = np.arange(count) % 2
    return np.stack([2.0 * classes - 1, 1000 * rng.standard_normal(count)], 1).astype(np.float32), classes


def quadrants(count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Points of a square whose class is that of x and y having one sign: no line tells them apart."""
    x = np.random.default_rng(0).uniform(-1, 1, (count, 2)).astype(np.float32)
    return x, (x[:, 0] * x[:, 1] > 0).astype(np.int64)


def subject(folder: Path, data: tuple[np.ndarray, np.ndarray], layers: str, more: str = "") -> Subject:
    """A spec over arrays, a quarter of them held out, with these layers."""
    from helpers import experiment_of

    x, y = data
    np.savez(folder / "points.npz", x=x, y=y)
    source = f"data: {{arrays: {{path: {folder / 'points.npz'}, test: 0.25, standardize: none, seed: 0}}}}"
    return of_spec(experiment_of(f"name: plane\n{source}\nnetwork: {{layers: [{layers}]}}\n{more}"))
