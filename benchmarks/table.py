"""A generated CSV file read, its columns typed, encoded and split, against `pandas.read_csv` alone.

    python benchmarks/table.py [--rows N] [--columns N] [--rounds N] [--against CHECKOUT] [--only JOB]

Of 30 columns, 24 are of fractions with six digits, three of whole numbers below 100,000, two of texts of five kinds,
and the last is the target of three; other numbers of columns have the same proportions. `read` is the file with
inferred types, `typed` that and the types that all texts have, `inspect` all facts of the table, `split` the data set
in memory, inputs encoded and split at random into 80 and 20 %, with its digest, and `standardized` that with its
numbers standardised. A second file has numbers with leading zeros in one column, which is read once more, as texts.

Each measurement is a process of its own that has imported all that it needs before, all kinds in turn: wall seconds,
seconds of all threads on the processor with those in the kernel, and by how much the peak of the memory rises.
`--against` measures the split of another checkout of dlx too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from common import ROOT, publish

BASE = "pandas.read_csv"
JOBS = {
    BASE: "pd.read_csv(path)",
    "read": "read(path)",
    "typed": "read(path).typed(Notation())",
    "inspect": "source.facts()",
    "split": "source.load()",
    "standardized": "source.model_copy(update={'standardize': 'feature'}).load()",
}
WORKER = """
import json, sys, time
from pathlib import Path
import numpy as np
import pandas as pd
import pyarrow.compute, pyarrow.csv
import dlx.data.preprocess
from dlx.data.tables.cells import Notation
from dlx.data.tables.frame import read
from dlx.data.tables.table import Table

path = Path(sys.argv[1])
source = Table(path=path, target="label", test=0.2)
def highest():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) * 1024

before, began, used = highest(), time.perf_counter(), time.process_time()
found = eval(sys.argv[2])
wall, cpu = time.perf_counter() - began, time.process_time() - used
print(json.dumps({"wall": wall, "cpu": cpu, "peak": highest() - before}))
"""
MEASURES = {"wall": ("s, wall", 1.0), "cpu": ("s, processor", 1.0), "peak": ("MB, peak", 1e6)}


def generated(path: Path, rows: int, columns: int, codes: bool) -> str:
    """Write the file, the same one for the same arguments; return its columns in words."""
    rng = np.random.default_rng(0)
    whole, texts = max(1, columns // 10), max(1, columns // 15)
    fractions = columns - 1 - whole - texts
    cells: dict[str, Any] = {f"x{i}": np.round(rng.standard_normal(rows), 6) for i in range(fractions)}
    cells |= {f"n{i}": rng.integers(0, 10**5, rows) for i in range(whole)}
    cells |= {f"t{i}": rng.choice(["red", "green", "blue", "black", "white"], rows) for i in range(texts)}
    if codes:
        cells["n0"] = np.char.zfill(cells["n0"].astype(str), 5)
    pd.DataFrame(cells | {"label": rng.choice(["yes", "no", "maybe"], rows)}).to_csv(path, index=False)
    return f"{fractions} of fractions, {whole} of whole numbers, {texts} of texts, 1 of classes"


def measured(job: str, path: Path, checkout: Path) -> dict[str, float]:
    """Wall and processor seconds and bytes of memory of a job in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    environment["PYTHONPATH"] = str(checkout)  # pyarrow takes its threads from OMP_NUM_THREADS
    command = [sys.executable, "-c", WORKER, str(path), job]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, cwd=path.parent)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def compared(path: Path, rounds: int, against: Path | None, only: list[str]) -> str:
    """A Markdown table: the medians of each measure, and of its ratio to pandas in the same round."""
    jobs = {name: (job, ROOT) for name, job in JOBS.items() if name == BASE or not only or name in only}
    if against is not None:
        jobs["split, the checkout before"] = (JOBS["split"], against)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in jobs}
    for turn in range(1 + rounds):
        for name, (job, checkout) in jobs.items():
            one = measured(job, path, checkout)
            if turn:
                found[name].append(one)
    titles = [f"{label} | of pandas (least to most)" for label, _ in MEASURES.values()]
    lines = [f"| what | {' | '.join(titles)} |", "|---" * (1 + 2 * len(MEASURES)) + "|"]
    for name, every in found.items():
        cells = []
        for measure, (_, unit) in MEASURES.items():
            ratios = [one[measure] / base[measure] for one, base in zip(every, found[BASE], strict=True)]
            middle = statistics.median(one[measure] for one in every) / unit
            span = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            cells += [f"{middle:.3g}", span]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=30, help="the target among them")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--against", type=Path, help="another checkout of dlx")
    parser.add_argument("--plain", action="store_true", help="the file without codes alone")
    parser.add_argument("--only", action="append", default=[], choices=list(JOBS)[1:], help="beside pandas")
    asked = parser.parse_args()
    load, sections = os.getloadavg()[0], []
    with tempfile.TemporaryDirectory() as folder:
        for name, codes in (("plain numbers", False), ("codes with leading zeros", True))[: 1 if asked.plain else 2]:
            path = Path(folder) / "a.csv"
            mix = generated(path, asked.rows, asked.columns, codes)
            size = f"{path.stat().st_size / 1e6:,.0f} MB"
            sections += [
                f"## {asked.rows:,} rows of {asked.columns} columns ({mix}), {name}, {size}",
                compared(path, asked.rounds, asked.against and asked.against.resolve(), asked.only),
            ]
    loads = f"Load of the machine: {load:.1f} at the start, {os.getloadavg()[0]:.1f} at the end."
    loads += f" pandas {pd.__version__}, pyarrow {pa.__version__}, which takes a thread for each core."
    publish("table", "Reading a table against pandas", [*sections, loads])


if __name__ == "__main__":
    main()
