"""Many small trainings: dlx side by side against the best hand-written loop, one training after the other.

    python benchmarks/packed.py [--rounds N] [--no-peers] [--only TITLE] [--clock processor]

Trials differ in their learning rate or seed. dlx runs them as `dlx sweep` does, and keeps a journal and a folder for
each: curves, evaluations, final weights. The hand-written loop (`loops/`, a process of its own) keeps nothing and
evaluates nothing; it takes the best of one and two threads.

The clock is the wall's, of seconds that somebody waits. On a machine that does other work `--clock processor` counts
the time of all threads on the processor instead: dlx packs on all cores at once, so that its wait is shorter.

Memory (`--only memory`): the most that a process of its own held (VmHWM) which trained 16 as one, less that of a
process which trained one of them, against 16 times the parameters and Adam's state of one, and 100 MB.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import ROOT, best_way, interleaved, loop, publish, table
from memory import status
from torch import nn

LENET = [("conv", 6, 2), "pool", ("conv", 16, 0), "pool", "flatten", 120, 84, 10]
CASES: dict[str, dict[str, Any]] = {
    "16 trials of 40-100-100-10, batch 100, Adam, 10 epochs": {
        "loop": "sixteen_40_100_100_10",
        "shape": (40,),
        "layers": [100, 100, 10],
        "act": "relu",
        "examples": 4000,
        "batch": 100,
        "epochs": 10,
        "optimizer": "adam",
        "rates": np.geomspace(1e-4, 1e-2, 16),
    },
    "16 trials of 784-100-10, batch 10, SGD, 2 epochs": {
        "loop": "sixteen_784_100_10",
        "shape": (784,),
        "layers": [100, 10],
        "act": "sigmoid",
        "examples": 10_000,
        "batch": 10,
        "epochs": 2,
        "optimizer": "sgd",
        "rates": np.geomspace(0.03, 0.5, 16),
    },
    "16 trials of LeNet, batch 64, SGD, 3 epochs of 1,920": {
        "loop": "sixteen_lenets",
        "shape": (1, 28, 28),
        "layers": LENET,
        "act": "relu",
        "examples": 1920,
        "batch": 64,
        "epochs": 3,
        "optimizer": "sgd",
        "rates": np.geomspace(0.01, 0.1, 16),
    },
    "64 seeds of the MNIST-1D conv net, batch 100, SGD, 5 epochs": {
        "loop": "sixtyfour_mnist1d",
        "shape": (1, 40),
        "layers": [("conv1", 15), ("conv1", 15), ("conv1", 15), "flatten", 10],
        "act": "relu",
        "examples": 4000,
        "batch": 100,
        "epochs": 5,
        "optimizer": "sgd",
        "rates": np.full(64, 0.01),
    },
}


class Clock:
    """What seconds are counted by."""

    def __init__(self) -> None:
        self.now: Callable[[], float] = time.perf_counter


clock = Clock()


def data(case: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((case["examples"], *case["shape"]), dtype=np.float32)
    return x, rng.integers(0, 10, case["examples"])


def torch_net(case: dict[str, Any]) -> nn.Sequential:
    act = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}[case["act"]]
    made: list[nn.Module] = []
    for layer in case["layers"]:
        if layer == "pool":
            made += [nn.MaxPool2d(2)]
        elif layer == "flatten":
            made += [nn.Flatten()]
        elif isinstance(layer, int):
            made += [nn.LazyLinear(layer), act()]
        elif layer[0] == "conv":
            made += [nn.LazyConv2d(layer[1], 5, padding=layer[2]), act()]
        else:
            made += [nn.LazyConv1d(layer[1], 3, stride=2), act()]
    net = nn.Sequential(*made[:-1])
    net(torch.zeros(1, *case["shape"]))
    return net


def spec_text(case: dict[str, Any]) -> str:
    layers: list[str] = []
    for layer in case["layers"]:
        if layer == "pool":
            layers += ["{max_pool: 2}"]
        elif layer == "flatten":
            layers += ["flatten"]
        elif isinstance(layer, int):
            layers += [f"{{linear: {layer}}}", case["act"]]
        elif layer[0] == "conv":
            layers += [f"{{conv: {{out_channels: {layer[1]}, kernel_size: 5, padding: {layer[2]}}}}}", case["act"]]
        else:
            layers += [f"{{conv: {{out_channels: {layer[1]}, kernel_size: 3, stride: 2}}}}", case["act"]]
    return "\n".join(
        [
            "dlx: 1",
            "name: bench",
            "data:",
            f"  synthetic: {{shape: {list(case['shape'])}, train: {case['examples']}, valid: 10, test: 10}}",
            f"network: {{layers: [{', '.join(layers[:-1])}]}}",
            f"train: {{epochs: {case['epochs']}, batch_size: {case['batch']},",
            f"  optimizer: {{{case['optimizer']}: {{lr: 0.1}}}}}}",
            "track: {mlflow: false}",
        ]
    )


def dlx_run(case: dict[str, Any], pack: int = 64) -> float:
    """Seconds of `dlx sweep`, from the plan to the last result on disk, with the library imported."""
    from dlx.sweeps.plan import plan
    from dlx.sweeps.run import SweepOptions, run

    count = len(case["rates"])
    rate = f"train.optimizer.{case['optimizer']}.lr"
    varies = f"{rate}=choice({','.join(map(str, case['rates']))})" if case["rates"][0] != case["rates"][-1] else ""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.yaml"
        path.write_text(spec_text(case))
        how = [varies or f"+train.seed=range({count})", "++sweep.sampler=grid", f"++sweep.generation={count}"]
        started = clock.now()
        ending = run(plan(path, how, Path(folder) / "runs", count), SweepOptions(pack=pack))
        spent = clock.now() - started
        assert sum(trial.state == "finished" for trial in ending.study.trials) == count
        return spent


def vmapped(case: dict[str, Any]) -> float:
    """torch.func: the networks stacked, vmap over gradients, Adam or SGD by hand on the stack."""
    from torch.func import functional_call, grad, stack_module_state, vmap

    x, y = (torch.from_numpy(a) for a in data(case))
    started = clock.now()
    nets = []
    for seed in range(len(case["rates"])):
        torch.manual_seed(seed)
        nets.append(torch_net(case))
    params, _ = stack_module_state(nets)  # type: ignore[arg-type]
    params = {k: v.detach() for k, v in params.items()}
    base, rates = nets[0], torch.tensor(case["rates"], dtype=torch.float32)

    def loss(p: dict[str, torch.Tensor], a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(functional_call(base, p, (a,)), b)

    gradients = vmap(grad(loss))
    first = {k: torch.zeros_like(v) for k, v in params.items()}
    second = {k: torch.zeros_like(v) for k, v in params.items()}
    step = 0
    with torch.no_grad():
        for _ in range(case["epochs"]):
            orders = torch.stack([torch.randperm(len(x)) for _ in nets])
            for index in orders.split(case["batch"], dim=1):
                step += 1
                found = gradients(params, x[index], y[index])
                for k, p in params.items():
                    rate = rates.view(-1, *(1,) * (p.dim() - 1))
                    if case["optimizer"] == "sgd":
                        p.sub_(rate * found[k])
                        continue
                    first[k].lerp_(found[k], 0.1)
                    second[k].mul_(0.999).addcmul_(found[k], found[k], value=0.001)
                    p.sub_(rate * (first[k] / (1 - 0.9**step)) / ((second[k] / (1 - 0.999**step)).sqrt() + 1e-8))
    return clock.now() - started


def lightning_and_optuna(case: dict[str, Any]) -> float:
    """Optuna asks, Lightning trains with everything that can be switched off switched off."""
    import lightning
    import optuna

    for name in ("lightning.pytorch", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    x, y = (torch.from_numpy(a) for a in data(case))
    rates = list(case["rates"])

    def objective(trial: optuna.Trial) -> float:
        rate = trial.suggest_float("lr", min(rates), max(rates), log=True) if min(rates) < max(rates) else rates[0]

        class Module(lightning.LightningModule):
            def __init__(self) -> None:
                super().__init__()
                self.net = torch_net(case)

            def training_step(self, batch: Any, _: int) -> torch.Tensor:
                self.last = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
                return self.last

            def configure_optimizers(self) -> torch.optim.Optimizer:
                kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[case["optimizer"]]
                return kind(self.parameters(), lr=rate, fused=True)

        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(x, y), batch_size=case["batch"], shuffle=True
        )
        module = Module()
        lightning.Trainer(
            max_epochs=case["epochs"],
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        ).fit(module, loader)
        return float(module.last)

    started = clock.now()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        study.optimize(objective, n_trials=len(rates))
    return clock.now() - started


# ---- memory --------------------------------------------------------------------------------------------------------

SMALL = next(iter(CASES.values()))
"""40-100-100-10 with Adam."""
SPARE = 100e6
"""Bytes that packing may take beside what is trained."""


def held(trials: int) -> int:
    """Bytes that a process of its own held at most, which trained so many as one."""
    command = [sys.executable, __file__, "--held", str(trials)]
    completed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return int(completed.stdout.splitlines()[-1])


def memory_table(rounds: int) -> str:
    """What 16 take more than one, in turn, and what they may."""
    count = len(SMALL["rates"])
    pairs = [(held(1), held(count)) for _ in range(rounds)]
    more = statistics.median(many - one for one, many in pairs)
    trained = 3 * sum(p.numel() * p.element_size() for p in torch_net(SMALL).parameters())  # Adam has two of each
    bound = count * trained + SPARE
    rows = ["| what | MB |", "|---|---|"]
    for trials, seen in zip((1, count), zip(*pairs, strict=True), strict=True):
        rows.append(f"| most that a process with {trials} held | {statistics.median(seen) / 1e6:,.1f} |")
    rows += [
        f"| {count} more than 1 | {more / 1e6:,.1f} |",
        f"| parameters and state of 1 | {trained / 1e6:,.3f} |",
        f"| bound: {count} times that, and {SPARE / 1e6:.0f} | {bound / 1e6:,.1f} |",
    ]
    return "\n".join(rows) + f"\n\n{'Kept' if more <= bound else 'Broken'}: {more / bound:.3f} of the bound."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--only", default="", help="a part of the titles of those to be run; or memory")
    parser.add_argument("--clock", choices=["wall", "processor"], default="wall")
    parser.add_argument("--held", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    if asked.held:
        dlx_run({**SMALL, "rates": SMALL["rates"][: asked.held]})
        print(status("VmHWM"))
        return
    if asked.clock == "processor":
        clock.now = time.process_time
    sections = []
    for title, case in CASES.items():
        if asked.only not in title:
            continue
        threads, _ = best_way(case["loop"], "--steps", "150")
        named = f"hand-written loop, {threads} thread{'s' if threads > 1 else ''}"
        jobs: dict[str, Callable[[], float]] = {
            named: partial(loop, case["loop"], threads, figure=asked.clock),
            "dlx, packed": lambda case=case: dlx_run(case),  # type: ignore[misc]
            "dlx, one after the other": lambda case=case: dlx_run(case, pack=1),  # type: ignore[misc]
            "torch.func.vmap": lambda case=case: vmapped(case),  # type: ignore[misc]
        }
        times = interleaved(jobs, asked.rounds)
        if not asked.no_peers and title.startswith("16") and "LeNet" not in title:
            times["Lightning and Optuna"] = [lightning_and_optuna(case)] * asked.rounds
        sections += [f"## {title}: seconds", table(times, named)]
        print(sections[-1], flush=True)
    if asked.only in "memory":
        sections += ["## Memory of 16 trials of 40-100-100-10, Adam, side by side", memory_table(asked.rounds)]
    publish("packed", "Many small trainings side by side", sections)


if __name__ == "__main__":
    main()
