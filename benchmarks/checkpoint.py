"""What a checkpoint of 100 MB costs the loop: the longest step around a save against the median step.

A network of 8.7 million weights with Adam: 35 MB of weights, 70 MB of the optimizer's. `beside` is dlx, which copies
the state and writes it in the background; `waiting` is the same with the loop waiting until the file is on the disk.
Steps are timed as a listener sees them, one after the other, the save between two of them.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import chain, pairwise
from pathlib import Path

from common import publish

from dlx.experiment import recorder, runner
from dlx.spec import load
from dlx.training.batches import step_chunk
from dlx.training.checkpoints.background_writer import BackgroundWriter

EVERY = {16: 80, 128: 20}
"""Steps between two saves, by batch: so many that a file is written before the next."""
SAVES = 6
"""Saves that are looked at; the first, for which memory is taken, is left out."""
ROUNDS = 3
AFTER = step_chunk.StepChunk.after
"""What is called when the weights have been moved: records of many steps come at once."""
SPEC = """\
dlx: 1
name: bench
data: {{synthetic: {{shape: [1024], train: 4096, test: 10}}}}
network:
  layers:
    - linear: 2048
    - relu
    - linear: 2048
    - relu
    - linear: 1120
    - relu
    - linear: 10
train: {{steps: {steps}, batch_size: {batch}, optimizer: adam, save_every: {every}, log_every: 1}}
track: {{mlflow: false}}
"""


class Waiting(BackgroundWriter):
    """What the loop waits for."""

    def start(self, write: Callable[[], None]) -> None:
        super().start(write)
        assert self._thread is not None
        self._thread.join()


def steps_of(batch: int, writer: type[BackgroundWriter], home: Path) -> tuple[list[float], int]:
    """Seconds of each step, from one to the next, and the bytes of a checkpoint."""
    seen: list[float] = []

    def after(self: step_chunk.StepChunk, plain: Callable[[step_chunk.StepChunk], None] = AFTER) -> None:
        plain(self)
        seen.append(time.perf_counter())

    step_chunk.StepChunk.after = after  # type: ignore[method-assign]
    path = home / "bench.yaml"
    path.write_text(SPEC.format(steps=EVERY[batch] * (SAVES + 2), batch=batch, every=EVERY[batch]))
    recorder.BackgroundWriter = writer  # type: ignore[attr-defined]
    done = runner.run(load(path), home / "runs").results[0]
    size = max(p.stat().st_size for p in (done.run.dir / "checkpoints").glob("step-*.safetensors"))
    return [b - a for a, b in pairwise(seen)], size


def longest(times: list[float], every: int) -> tuple[float, list[float], list[float]]:
    """The median step far from a save; the longest of the ten that begin with one; and of the last ten before one."""
    saves = range(2 * every, every * (SAVES + 2), every)
    far = [times[at + every - 11 : at + every - 1] for at in saves]
    return statistics.median(chain(*far)), [max(times[at - 1 : at + 9]) for at in saves], [*map(max, far)]


def main() -> None:
    """Both ways in turn, at two batches."""
    rows = ["| batch | way | median step ms | longest of ten | of the ten at a save | most | stall in steps |"]
    rows.append("|---|---|---|---|---|---|---|")
    for batch, every in EVERY.items():
        found: dict[str, list[tuple[float, list[float], list[float]]]] = {"beside": [], "waiting": []}
        for _ in range(ROUNDS):
            for name, writer in {"beside": BackgroundWriter, "waiting": Waiting}.items():
                with tempfile.TemporaryDirectory() as home:
                    times, size = steps_of(batch, writer, Path(home))
                found[name].append(longest(times, every))
        for name, rounds in found.items():
            step = statistics.median(middle for middle, _, _ in rounds)
            near = [t for _, at_save, _ in rounds for t in at_save]
            else_ = statistics.median(t for _, _, elsewhere in rounds for t in elsewhere)
            usual = statistics.median(near)
            cells = [f"{1e3 * t:.1f}" for t in (step, else_, usual, max(near))]
            rows.append(f"| {batch} | {name} | {' | '.join(cells)} | {(usual - step) / step:.2f} |")
    about = (
        f"A checkpoint has {size / 1e6:.0f} MB. `longest of ten` steps is the median over stretches far from a save, "
        "`of the ten at a save` over those that begin with one; a stall is that less the median step."
    )
    publish("checkpoint", "What a checkpoint of 100 MB costs the loop", [about, "\n".join(rows)])


if __name__ == "__main__":
    main()
