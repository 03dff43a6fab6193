"""Evaluation of 10,000 images with a LeNet: dlx's, as a training takes it, against the best loop by hand.

    python benchmarks/evaluation.py [--rounds N]

The loop has the same weights and runs in each batch size, channels last and in oneDNN's layout, on one thread and all
cores; the quickest of them counts, picked from all in two tries each. Both find loss and accuracy, which must agree.
Processor time is that of the process, for a machine that has other work; seconds by the clock stand beside it.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dlx.training import process

process.tune()

import torch  # noqa: E402
from common import publish  # noqa: E402
from loops import evaluation as by_hand  # noqa: E402
from loops.blocked import Blocked  # noqa: E402
from torch import nn  # noqa: E402

from dlx.experiment.session import job_of  # noqa: E402
from dlx.spec import load  # noqa: E402
from dlx.training import device  # noqa: E402
from dlx.training.fit import Job, evaluate  # noqa: E402
from dlx.training.prepared import prepare  # noqa: E402

BATCHES = (64, 128, 256, 512, 1024)
SPEC = """
dlx: 1
name: evaluation
data: {{synthetic: {{shape: [1, 28, 28], train: 320, test: 10000}}}}
network:
  layers:
    - conv: {{out_channels: 6, kernel_size: 5, padding: 2}}
    - {act}
    - {pool}: 2
    - conv: {{out_channels: 16, kernel_size: 5}}
    - {act}
    - {pool}: 2
    - flatten
    - linear: 120
    - {act}
    - linear: 84
    - {act}
    - linear: 10
train: {{epochs: 1, batch_size: 32}}
"""


def job(act: str, pool: str) -> Job:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "evaluation.yaml"
        path.write_text(SPEC.format(act=act, pool=pool))
        return job_of(prepare(load(path)))


def network(weights: nn.Module, act: type[nn.Module], pool: Callable[[int], nn.Module]) -> nn.Sequential:
    """Return the LeNet of torch's own layers with the weights of another; ReLU behind maxima, where it is less."""
    both = [pool(2), nn.ReLU(inplace=True)] if act is nn.ReLU else [act(), pool(2)]
    net = nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), *both, nn.Conv2d(6, 16, 5), *both, nn.Flatten()),
        *(nn.Linear(400, 120), act(), nn.Linear(120, 84), act(), nn.Linear(84, 10)),
    )
    with torch.no_grad():
        for mine, other in zip(net.parameters(), weights.parameters(), strict=True):
            mine.copy_(other)
    return net


def contestants(trained: Job, net: nn.Sequential) -> dict[str, Callable[[], tuple[float, float]]]:
    """Return dlx's evaluation, and the loop in all its forms; each gives loss and accuracy."""
    part = trained.parts["test"]
    last = copy.deepcopy(net).to(memory_format=torch.channels_last)
    forms = {
        "oneDNN's layout": (Blocked(net), part.x),
        "channels last": (last, part.x.contiguous(memory_format=torch.channels_last)),
    }

    def dlx() -> tuple[float, float]:
        found = evaluate(trained, "test")
        return found["test/loss"], found["test/accuracy"]

    jobs = {"dlx": dlx}
    for name, (one, x) in forms.items():
        for batch in BATCHES:
            jobs[f"by hand, {name}, {batch}"] = lambda one=one, x=x, b=batch: by_hand.evaluate(one, x, part.y, b)
    return jobs


def measured(jobs: dict[str, Callable[[], tuple[float, float]]], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Return processor seconds and seconds by the clock of each job on each number of threads, in turn."""
    counts = sorted({1, device.available_threads()})
    jobs = _quickest(jobs)
    times: dict[str, list[tuple[float, float]]] = {f"{name}, threads {n}": [] for name in jobs for n in counts}
    for turn in range(rounds + 1):
        for count in counts:
            torch.set_num_threads(count)
            for name, one in jobs.items():
                clock, processor = time.perf_counter(), time.process_time()
                one()
                spent = time.process_time() - processor, time.perf_counter() - clock
                if turn:
                    times[f"{name}, threads {count}"].append(spent)
    return times


def _quickest(jobs: dict[str, Callable[[], tuple[float, float]]], most: int = 4) -> dict[str, Callable[[], Any]]:
    """Return dlx's evaluation and the few loops by hand that were quickest in two tries each."""
    tries = {name: min(_seconds(one), _seconds(one)) for name, one in jobs.items() if name != "dlx"}
    return {"dlx": jobs["dlx"]} | {name: jobs[name] for name in sorted(tries, key=lambda name: tries[name])[:most]}


def _seconds(one: Callable[[], Any]) -> float:
    began = time.process_time()
    one()
    return time.process_time() - began


def ratio(times: dict[str, list[tuple[float, float]]], which: int) -> tuple[float, str, str]:
    """Return the median ratio of dlx's best to the best by hand, by the processor (0) or the clock (1), and both."""
    middle = {name: statistics.median(one[which] for one in values) for name, values in times.items()}
    mine, hand = (
        min((name for name in middle if name.startswith(start)), key=lambda name: middle[name])
        for start in ("dlx", "by hand")
    )
    pairs = zip(times[mine], times[hand], strict=True)
    return statistics.median(a[which] / b[which] for a, b in pairs), mine, hand


def page(times: dict[str, list[tuple[float, float]]]) -> list[str]:
    _, _, hand = ratio(times, 0)
    base = statistics.median(one[0] for one in times[hand])
    rows = ["| what | processor time, of the best by hand | clock, of the same |", "|---|---|---|"]
    clock = statistics.median(one[1] for one in times[hand])
    for name, values in times.items():
        middle = [statistics.median(one[which] for one in values) for which in (0, 1)]
        rows.append(f"| {name} | {middle[0] / base:.3f} | {middle[1] / clock:.3f} |")
    found = [ratio(times, which) for which in (0, 1)]
    sentences = [
        f"By {how}: {value:.3f}, {mine} against {hand}, median of {len(times[mine])} pairs."
        for how, (value, mine, hand) in zip(("processor time", "the clock"), found, strict=True)
    ]
    return ["\n".join(rows), *sentences]


def main() -> None:
    """Both LeNets: with ReLU and maxima, and with sigmoids and means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    sections = []
    for title, act, pool, kinds in (
        ("ReLU and maxima", "relu", "max_pool", (nn.ReLU, nn.MaxPool2d)),
        ("sigmoids and means", "sigmoid", "avg_pool", (nn.Sigmoid, nn.AvgPool2d)),
    ):
        trained = job(act, pool)
        jobs = contestants(trained, network(trained.network, *kinds))
        mine, hand = jobs["dlx"](), jobs["by hand, oneDNN's layout, 256"]()
        assert all(abs(a - b) < 1e-4 for a, b in zip(mine, hand, strict=True)), (mine, hand)
        sections += [f"## LeNet with {title}", *page(measured(jobs, asked.rounds))]
    publish("evaluation", "Evaluation of 10,000 images with a LeNet", sections)


if __name__ == "__main__":
    main()
