"""A training step of two larger networks: dlx with tracking on, against the best hand-written torch loop.

LeNet on 28x28 at batch 64, ResNet-18 on 32x32 at batch 128; `texts.py` has an LSTM and a GPT. The naive loop is
that of a tutorial: a data loader, contiguous memory, `loss.item()` at each step, an optimizer that is not fused. The
best one (`loops/`, a process of its own) has its data in one tensor and a fused optimizer, and is tried on one thread
and on all: the quicker way counts. dlx chooses by itself, and takes all of its
steps, of which the first are to choose by; a loop by hand is as quick at its thirtieth step as later, and ends after
seconds.

Memory: the most that a process of its own held (VmHWM), after twelve steps of ResNet-18.

python benchmarks/larger.py [--rounds N] [lenet] [resnet] [memory]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # what dlx sets; the other loops get it too

import numpy as np
import torch
from common import HERE, best_way, interleaved, loop, publish, table
from torch import nn

sys.path.insert(0, str(HERE / "loops"))  # as for the loops themselves, each a process of its own
from lenet_step import network as lenet
from resnet18_step import network as resnet

CORES = len(os.sched_getaffinity(0))
RESNET = """
blocks:
  basic:
    args: {width: null, stride: 1}
    layers:
      - residual:
          layers:
            - conv: {out_channels: "${width}", kernel_size: 3, stride: "${stride}", padding: 1, bias: false}
            - batch_norm
            - relu
            - conv: {out_channels: "${width}", kernel_size: 3, padding: 1, bias: false}
            - batch_norm
          shortcut:
            - layers:
                - conv: {out_channels: "${width}", kernel_size: 1, stride: "${stride}", bias: false}
                - batch_norm
              when: ${x.channels != width or stride > 1}
          after: relu
network:
  layers:
    - conv: {out_channels: 64, kernel_size: 3, padding: 1, bias: false}
    - batch_norm
    - relu
    - for: {width: [64, 128, 256, 512], first: [1, 2, 2, 2]}
      layers:
        - basic: {width: "${width}", stride: "${first}"}
        - basic: {width: "${width}"}
    - global_avg_pool
    - linear: 10
"""
LENET = """
network:
  layers:
    - conv: {out_channels: 6, kernel_size: 5, padding: 2}
    - relu
    - max_pool: 2
    - conv: {out_channels: 16, kernel_size: 5}
    - relu
    - max_pool: 2
    - flatten
    - linear: 120
    - relu
    - linear: 84
    - relu
    - linear: 10
"""
# ---- data ---------------------------------------------------------------------------------------------------------


def pictures(shape: tuple[int, ...]) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    def made(examples: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        return rng.standard_normal((examples, *shape), np.float32), rng.integers(0, 10, examples)

    return made


CASES: dict[str, dict[str, Any]] = {
    "lenet": {"title": "LeNet, batch 64, Adam", "net": lenet, "spec": LENET, "batch": 64, "steps": 500},
    "resnet": {"title": "ResNet-18 on 32x32, batch 128, SGD with momentum", "net": resnet, "spec": RESNET}
    | {"batch": 128, "steps": 12},
}
CASES["lenet"] |= {"data": pictures((1, 28, 28)), "shape": [1, 28, 28]}
CASES["resnet"] |= {"data": pictures((3, 32, 32)), "shape": [3, 32, 32]}


def loss_of(outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(outputs, target)


def optimizer_of(name: str, net: nn.Module, fused: bool) -> torch.optim.Optimizer:
    if name == "resnet":
        return torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, fused=fused)
    return torch.optim.Adam(net.parameters(), lr=1e-3, fused=fused)


LOOPS = {"lenet": "lenet_step", "resnet": "resnet18_step"}
STEPS = {"lenet": ("--steps", "300"), "resnet": ("--steps", "12")}


# ---- contestants ---------------------------------------------------------------------------------------------------


PATIENCE = 4.0
"""Seconds after which a loop by hand ends."""


def is_enough(times: list[float]) -> bool:
    """Whether a loop by hand has taken the steps that a median wants, for so long that more would tell nothing."""
    return len(times) > 3 and times[-1] - times[0] > PATIENCE


def steady(times: list[float]) -> float:
    """Seconds a step behind the first third, in which caches fill and dlx starts its mirror and chooses its way.

    dlx tells of several steps at once: the count begins where it has told of all that were done.
    """
    first = len(times) // 3
    step = (times[-1] - times[first]) / (len(times) - 1 - first)
    while times[first + 1] - times[first] < step / 10:
        first += 1
    return (times[-1] - times[first]) / (len(times) - 1 - first)


def naive(name: str) -> float:
    """Seconds a step of a tutorial's loop."""
    case = CASES[name]
    torch.set_num_threads(CORES)
    x, y = (torch.from_numpy(a) for a in case["data"](case["batch"] * case["steps"]))
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=case["batch"], shuffle=True)
    net, total = case["net"](), 0.0
    optimizer = optimizer_of(name, net, fused=False)
    times = []
    for one, target in loader:
        optimizer.zero_grad()
        loss = loss_of(net(one), target)
        loss.backward()
        optimizer.step()
        total += loss.item()
        times.append(time.perf_counter())
        if is_enough(times):
            break
    return steady(times)


def spec_text(name: str) -> str:
    case = CASES[name]
    examples = case["batch"] * case["steps"]
    data = f"synthetic: {{shape: {case['shape']}, train: {examples}, test: null, rule: random}}"
    optimizer = "{sgd: {lr: 0.01, momentum: 0.9}}" if name == "resnet" else "{adam: 1e-3}"
    head = f"dlx: 1\nname: bench\ndata: {{{data}}}\nobjective: classification\n"
    return f"{head}{case['spec']}train: {{epochs: 1, batch_size: {case['batch']}, optimizer: {optimizer}}}\n"


RUNS = Path(tempfile.mkdtemp(prefix="dlx-bench-"))


def dlx_run(name: str, chosen: dict[str, Any]) -> float:
    """Seconds a step: curve, checkpoints, progress, metrics.jsonl and the MLflow mirror on; `lock.json` is kept.

    What comes after the last update, the evaluation of the training set, is no part of the other loops.
    """
    from dlx.experiment import runner
    from dlx.show.training import progress
    from dlx.spec import load

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.yaml"
        path.write_text(spec_text(name))
        loaded, times = load(path), []
        with progress() as shown:

            def callback(event: Any) -> None:
                times.append((time.perf_counter(), getattr(event, "record", "")))
                shown(event)

            results = runner.run(loaded, RUNS, callback)
        runner.finish_tracking(loaded, results)  # its mirror would otherwise run beside whoever comes next
    lock = results.results[0].run.read_json("lock.json")
    chosen[name] = f"{lock['threads']} of {CORES} threads, {lock['compute']['memory_format']}"
    return steady([moment for moment, record in times if record == "step"])


# ---- memory --------------------------------------------------------------------------------------------------------


def held(who: str) -> int:
    """Bytes that a process of its own held at most."""
    if who == "hand-written":
        return int(loop(LOOPS["resnet"], CORES, *STEPS["resnet"], figure="held"))
    code = "import larger; larger.measure_memory()"
    completed = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=Path(__file__).parent
    )
    return int(json.loads(completed.stdout.splitlines()[-1]))


def measure_memory() -> None:
    dlx_run("resnet", {})
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(json.dumps(int(line.split()[1]) * 1024))


def memory_table() -> str:
    found = {who: [held(who) for _ in range(2)] for who in ("hand-written", "dlx")}
    base = min(found["hand-written"])
    rows = ["| what | most that the process held, MB | of hand-written |", "|---|---|---|"]
    rows += [f"| {who} | {min(values) / 1e6:,.0f} | {min(values) / base:.3f} |" for who, values in found.items()]
    return "\n".join(rows)


def main() -> None:
    """Every contestant in turn, on each network."""
    asked = [a for a in sys.argv[1:] if a in {*CASES, "memory"}] or [*CASES, "memory"]
    rounds = int(sys.argv[sys.argv.index("--rounds") + 1]) if "--rounds" in sys.argv else 5
    sections, chosen = [], {}
    for name in (n for n in CASES if n in asked):
        threads, options = best_way(LOOPS[name], *STEPS[name])
        jobs: dict[str, Callable[[], float]] = {
            "hand-written": partial(loop, LOOPS[name], threads, *options, figure="step"),
            "naive": partial(naive, name),
            "dlx": partial(dlx_run, name, chosen),
        }
        every = interleaved(jobs, rounds)
        way = " ".join([f"{threads} of {CORES} threads", *options])
        note = f"dlx chose {chosen[name]}; the best loop by hand: {way}."
        sections += [
            f"## {CASES[name]['title']}: milliseconds a step",
            note,
            table(every, "hand-written", 1e-3, "ms"),
        ]
    if "memory" in asked:
        sections += ["## Memory: ResNet-18 at batch 128", memory_table()]
    publish("larger", "A training step of larger networks", sections)


if __name__ == "__main__":
    main()
