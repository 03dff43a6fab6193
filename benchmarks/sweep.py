"""What a search costs beside the training: a trial that trains nothing, and opening a study of 10,000 trials.

    python benchmarks/sweep.py

Each trial of the first is one update of a net of 168 parameters, which takes under a millisecond: what is measured is
the rest, from the question to the sampler to the final checkpoint. The time of the processor stands beside that of
the clock, which other work on the machine makes longer.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path

from common import publish

from dlx.sweeps.plan import plan
from dlx.sweeps.run import SweepOptions, run

SPEC = """\
dlx: 1
name: s
data: {synthetic: {shape: [1, 6, 6], classes: 4, train: 160, valid: 40, test: 40}}
network: {layers: [flatten, {linear: 4}, relu, {linear: 4}]}
train: {steps: 1, optimizer: {adam: {lr: 0.01}}}
"""
RATE = "train.optimizer.adam.lr=tag(log,interval(1e-4,1))"
TRIALS, ROUNDS, MANY = 100, 5, 10_000


def overhead(sampler: str, pack: int, folder: Path) -> tuple[float, float]:
    """Milliseconds a trial, by the clock and by the processor."""
    path = folder / "s.yaml"
    path.write_text(SPEC)
    how = [RATE, f"++sweep.sampler={sampler}"]
    run(plan(path, [*how, "++sweep.seed=1"], folder / "warm", 8), SweepOptions(pack=pack))
    made = plan(path, how, folder / "runs", TRIALS)
    clock, processor = time.perf_counter(), time.process_time()
    run(made, SweepOptions(pack=pack))
    return (time.perf_counter() - clock) / TRIALS * 1e3, (time.process_time() - processor) / TRIALS * 1e3


def reopened(sampler: str, folder: Path) -> float:
    """Seconds to open a study of 10,000 finished trials and to suggest and train one more."""
    path = folder / "s.yaml"
    path.write_text(SPEC)
    made = plan(path, [RATE, f"++sweep.sampler={sampler}"], folder / "runs", MANY + 1)
    made.folder.mkdir(parents=True)
    facts: list[dict[str, object]] = [{"fact": "study", "version": 1, "identity": made.identity}]
    for first in range(0, MANY, 8):
        numbers = range(first, first + 8)
        rates = {n: float(f"{10 ** (-4 * ((n * 0.618) % 1)):.6g}") for n in numbers}
        each = [
            {
                "number": n,
                "point": {"train.optimizer.adam.lr": rates[n]},
                "params": 168,
                "macs": 160,
                "runs": {"0": "s/t"},
            }
            for n in numbers
        ]
        facts.append({"fact": "generation", "generation": first // 8, "trials": each, "refused": []})
        for n in numbers:
            metrics = {"0": {"valid/error": (n * 0.382) % 1}}
            about = {
                "trial": n,
                "step": 1,
                "metrics": metrics,
                "steps": {"0": 1},
                "seconds": 0.01,
                "state": "finished",
            }
            facts.append({"fact": "reached", **about})
    (made.folder / "study.jsonl").write_text("".join(json.dumps(fact) + "\n" for fact in facts))
    begun = time.perf_counter()
    found = run(plan(path, [RATE, f"++sweep.sampler={sampler}"], folder / "runs", MANY + 1), SweepOptions())
    assert len(found.study.trials) == MANY + 1
    return time.perf_counter() - begun


def main() -> None:
    """Both ways to pick points, trials alone and packed."""
    rows = ["| what | by the clock | of the processor |", "|---|---|---|"]
    for sampler in ("random", "tpe"):
        for pack in (1, 8):
            overheads = []
            for _ in range(ROUNDS):
                with tempfile.TemporaryDirectory() as folder:
                    overheads.append(overhead(sampler, pack, Path(folder)))
            clock, processor = (statistics.median(column) for column in zip(*overheads, strict=True))
            name = f"{sampler}, packed by {pack}" if pack > 1 else sampler
            rows.append(f"| a trial that trains nothing, {name} | {clock:.1f} ms | {processor:.1f} ms |")
    for sampler in ("random", "tpe"):
        with tempfile.TemporaryDirectory() as folder:
            seconds = reopened(sampler, Path(folder))
        rows.append(f"| a study of {MANY:,} trials opened and gone on with by one, {sampler} | {seconds:.2f} s | |")
    about = f"A trial: the median of {ROUNDS} studies of {TRIALS}."
    publish("sweep", "What a search costs beside the training", [about, "\n".join(rows)])


if __name__ == "__main__":
    main()
