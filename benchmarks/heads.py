"""A training step of a network with two inputs and two heads: dlx with tracking on, against a hand-written loop.

    python benchmarks/heads.py [--rounds N]

20 numbers and a category with an embedding go through 100-100 to a value and a class; Adam, batch 64. The loop takes
the better of two ways to a batch: the rows of each batch, or all rows once an epoch and slices of them. It uses fused
Adam, clears gradients to None and never asks for `.item()`. All get one thread and the same steps.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from common import interleaved, publish, table
from torch import nn
from torch.nn import functional as F

EXAMPLES, BATCH, EPOCHS = 6400, 64, 20
NUMBERS, CATEGORIES, EMBEDDED, WIDTH, CLASSES = 20, 12, 8, 100, 5
RATE = 1e-3
STEPS = EPOCHS * (EXAMPLES // BATCH)
FOLDER = Path(tempfile.mkdtemp(prefix="dlx-bench-"))
SPEC = f"""\
dlx: 1
name: heads
data:
  arrays:
    path: data.npz
    inputs: {{numbers: numbers, kind: kind}}
    targets: {{value: value, sort: sort}}
    test: 10
network:
  layers:
    - {{embedding: {{num_embeddings: {CATEGORIES}, embedding_dim: {EMBEDDED}}}, from: kind}}
    - flatten
    - {{concat: , from: [numbers, prev]}}
    - linear: {WIDTH}
    - relu
    - linear: {WIDTH}
    - {{relu: , name: trunk}}
    - {{linear: 1, name: value, from: trunk}}
    - {{linear: {CLASSES}, name: sort, from: trunk}}
  outputs: [value, sort]
objective: {{value: regression, sort: classification}}
train: {{epochs: {EPOCHS}, batch_size: {BATCH}, threads: 1, optimizer: {{adam: {RATE}}}}}
"""


def data() -> dict[str, np.ndarray]:
    """Fields by name; the last ten examples are the test part of dlx."""
    rng, n = np.random.default_rng(0), EXAMPLES + 10
    numbers, kind = rng.standard_normal((n, NUMBERS), dtype=np.float32), rng.integers(0, CATEGORIES, n)
    value = rng.standard_normal((n, 1), dtype=np.float32)
    return {"numbers": numbers, "kind": kind, "value": value, "sort": rng.integers(0, CLASSES, n)}


class Network(nn.Module):
    """The network of the spec by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(CATEGORIES, EMBEDDED)
        self.first, self.second = nn.Linear(NUMBERS + EMBEDDED, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.value, self.sort = nn.Linear(WIDTH, 1), nn.Linear(WIDTH, CLASSES)

    def forward(self, numbers: torch.Tensor, kind: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        trunk = F.relu(self.first(torch.cat([numbers, self.embedding(kind)], 1)))
        trunk = F.relu(self.second(trunk))
        return self.value(trunk), self.sort(trunk)


Fields = list[torch.Tensor]


def rows_of_each_batch(fields: Fields) -> Iterator[Fields]:
    """Batches of an epoch, each gathered by itself."""
    for index in torch.randperm(EXAMPLES).split(BATCH):
        yield [field[index] for field in fields]


def rows_of_the_epoch(fields: Fields) -> Iterator[Fields]:
    """Batches of an epoch, slices of fields that are gathered once."""
    order = torch.randperm(EXAMPLES)
    yield from (list(one) for one in zip(*(field[order].split(BATCH) for field in fields), strict=True))


def hand_written(batches: Callable[[Fields], Iterator[Fields]], clock: Callable[[], float]) -> float:
    """Seconds a step of the loop with autograd."""
    fields = [torch.from_numpy(one[:EXAMPLES]) for one in data().values()]
    net = Network()
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE, fused=True)
    started = clock()
    for _ in range(EPOCHS):
        for numbers, kind, value, sort in batches(fields):
            optimizer.zero_grad(set_to_none=True)
            predicted, scores = net(numbers, kind)
            (F.mse_loss(predicted, value) + F.cross_entropy(scores, sort)).backward()
            optimizer.step()
    return (clock() - started) / STEPS


def dlx_run(clock: Callable[[], float]) -> float:
    """Seconds a step of a whole run: data, curve, evaluations, checkpoints, records and the MLflow mirror on."""
    from dlx.experiment import runner
    from dlx.spec import load

    started = clock()
    loaded = load(FOLDER / "heads.yaml")
    results = runner.run(loaded, FOLDER / "runs")
    seconds = clock() - started
    runner.finish_tracking(loaded, results)  # its mirror would otherwise run beside whoever comes next
    return seconds / STEPS


WAYS = {"a batch": rows_of_each_batch, "an epoch": rows_of_the_epoch}
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


def main() -> None:
    """Both ways of the hand-written loop and dlx in turn, by either clock."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="processor: other work weighs less")
    asked = parser.parse_args()
    clock = CLOCKS[asked.clock]
    torch.set_num_threads(1)
    np.savez(FOLDER / "data.npz", **data())
    (FOLDER / "heads.yaml").write_text(SPEC)
    hand = {f"hand-written, rows of {name}": (lambda way=way: hand_written(way, clock)) for name, way in WAYS.items()}
    times = interleaved(hand | {"dlx": lambda: dlx_run(clock)}, asked.rounds)
    best = min(hand, key=lambda name: statistics.median(times[name]))
    about = f"Microseconds a step, by the {asked.clock} clock; of dlx a whole run, its start and end among them."
    publish("heads", "A training step of two inputs and two heads", [about, table(times, best, 1e-6, "us")])


if __name__ == "__main__":
    main()
