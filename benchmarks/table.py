"""Reading a table: a generated CSV file read, its columns typed, and split, against `pandas.read_csv` alone.

    python benchmarks/table.py [--rows N] [--columns N] [--rounds N]

Of eight columns, four are of fractions, two of whole numbers and two of texts, the last of them the target. `read` is
the file with inferred types, `typed` that and the types that all texts have, `inspect` all facts of the table,
`split` the data set in memory, inputs encoded and split, with its digest, and `standardized` that with its numbers
standardised. A second file has numbers with leading zeros in one column, so that its columns of numbers are read once
more, as texts. Compare ratios: all are measured in turn.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from common import interleaved, publish, table

from dlx.data.tables.cells import Notation
from dlx.data.tables.frame import read
from dlx.data.tables.table import Table

TARGET = "label"
BASE = "pandas.read_csv"


def generated(path: Path, rows: int, columns: int, codes: bool) -> Path:
    """The file, the same one for the same arguments."""
    rng = np.random.default_rng(0)
    cells: dict[str, object] = {}
    for i in range(columns - 1):
        sort = i % 8
        if sort < 4:
            cells[f"x{i}"] = np.round(rng.standard_normal(rows), 6)
        elif sort == 4 and codes:
            cells[f"x{i}"] = np.char.zfill(rng.integers(0, 10**5, rows).astype(str), 5)
        elif sort < 6:
            cells[f"x{i}"] = rng.integers(0, 10**5, rows)
        else:
            cells[f"x{i}"] = rng.choice(["red", "green", "blue", "black", "white"], rows)
    cells[TARGET] = rng.choice(["yes", "no", "maybe"], rows)
    pd.DataFrame(cells).to_csv(path, index=False)
    return path


def seconds(job: Callable[[], object]) -> float:
    started = time.perf_counter()
    job()
    return time.perf_counter() - started


def measured(path: Path, rounds: int) -> str:
    source = Table(path=path, target=TARGET, test=0.2)
    standardized = Table(path=path, target=TARGET, test=0.2, standardize="feature")
    jobs: dict[str, Callable[[], object]] = {
        BASE: lambda: pd.read_csv(path),
        "read": lambda: read(path),
        "typed": lambda: read(path).typed(Notation()),
        "inspect": source.facts,
        "split": source.load,
        "standardized": standardized.load,
    }
    return table(interleaved({name: (lambda job=job: seconds(job)) for name, job in jobs.items()}, rounds), BASE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--columns", type=int, default=8, help="the target among them")
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    size = f"{asked.rows:,} rows of {asked.columns} columns"
    load = os.getloadavg()[0]
    sections = []
    with tempfile.TemporaryDirectory() as folder:
        for name, codes in (("plain numbers", False), ("codes with leading zeros", True)):
            path = generated(Path(folder) / "a.csv", asked.rows, asked.columns, codes)
            heading = f"## {size}, {name}, {path.stat().st_size / 1e6:,.1f} MB: seconds"
            sections += [heading, measured(path, asked.rounds)]
    loads = f"Load of the machine: {load:.1f} at the start, {os.getloadavg()[0]:.1f} at the end."
    publish("table", "Reading a table against pandas", [*sections, loads])


if __name__ == "__main__":
    main()
