"""Several networks: a step of a VAE and of a DCGAN on digits against the best hand-written loop, and 16 side by side.

    python benchmarks/generative.py [--rounds N] [--clock processor] [--threads N] [vae] [dcgan] [16-vae] [16-gan]

The loops by hand (`loops/`, a process of its own) have all pictures in one tensor, one permutation an epoch, fused
optimizers, gradients cleared to None and no `.item()`; they are tried on one thread and on all, convolutions with
channels first and last. The quickest way counts. Of
dlx the run of `dlx train` is timed behind the first third of its steps, in which it chooses its way; curve, records
and checkpoints are on, the mirror in MLflow is off.

16: trainings of as many rates and seeds as `dlx sweep` runs them, packed and one after the other, with a journal and
a folder for each, from the plan to the last result.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # what dlx sets; the other loops get it too

from common import best_way, interleaved, loop, publish, table
from texts import CLOCKS, CORES, steady

FOLDER = Path(tempfile.mkdtemp(prefix="dlx-bench-"))
RATES = [1e-4 * 1.3**i for i in range(16)]
VAE = """
networks:
  encoder: {layers: [flatten, {linear: 128}, relu, {linear: 24}]}
  decoder: {inputs: {z: [12]}, layers: [{linear: 128}, relu, {linear: 64}, {reshape: [1, 8, 8]}]}
objective: vae
"""
DCGAN = """
networks:
  generator:
    inputs: {noise: [32]}
    layers:
      - {linear: {out_features: 512, bias: false}}
      - reshape: [128, 2, 2]
      - batch_norm
      - relu
      - {conv_transpose: {out_channels: 64, kernel_size: 4, stride: 2, padding: 1, bias: false}}
      - batch_norm
      - relu
      - {conv_transpose: {out_channels: 1, kernel_size: 4, stride: 2, padding: 1}}
      - sigmoid
  discriminator:
    inputs: {image: [1, 8, 8]}
    layers:
      - {conv: {out_channels: 32, kernel_size: 4, stride: 2, padding: 1}}
      - leaky_relu: 0.2
      - {conv: {out_channels: 64, kernel_size: 4, stride: 2, padding: 1, bias: false}}
      - batch_norm
      - leaky_relu: 0.2
      - flatten
      - linear: 1
objective: gan
"""
GAN = """
networks:
  generator: {inputs: {noise: [16]}, layers: [{linear: 64}, relu, {linear: 64}, {reshape: [1, 8, 8]}]}
  discriminator: {inputs: {image: [1, 8, 8]}, layers: [flatten, {linear: 64}, {leaky_relu: 0.2}, {linear: 1}]}
objective: gan
"""
NETWORKS = {"vae": VAE, "dcgan": DCGAN, "gan": GAN}
STEPS = {"vae": 1500, "dcgan": 400}
FORMS = {"vae": ("",), "dcgan": ("", "--channels-last")}
BATCH = 64
METRICS = {"vae": "valid/loss", "gan": "valid/generator/loss"}


# ---- dlx -----------------------------------------------------------------------------------------------------------


def spec_of(name: str, train: str) -> Path:
    path = FOLDER / f"{name}.yaml"
    head = f"dlx: 1\nname: {name}\ndata: {{digits: {{test: 0.2}}}}"
    path.write_text(f"{head}{NETWORKS[name]}train: {{{train}}}\ntrack: {{mlflow: false}}\n")
    return path


def dlx_run(name: str, chosen: dict[str, str], clock: Callable[[], float], threads: str) -> float:
    """Seconds a step of `dlx train`."""
    from dlx.experiment import runner
    from dlx.spec import load

    times: list[float] = []

    def callback(event: Any) -> None:
        if getattr(event, "record", "") == "step":
            times.append(clock())

    train = (
        f"steps: {STEPS[name]}, batch_size: {BATCH}, log_every: 10, evaluate_every: 100000, optimizer: {{adam: 1e-3}}"
    )
    loaded = load(spec_of(name, f"{train}, threads: {threads}"))
    lock = runner.run(loaded, FOLDER / "runs", callback).results[0].run.read_json("lock.json")
    chosen[name] = f"dlx: {lock['threads']} of {CORES} threads, {lock['way']['step']} ({lock['way']['because']})."
    return steady(times) / 10


def steps_of(name: str, rounds: int, clock: str, threads: int) -> list[str]:
    """Return the lines of one case."""
    chosen: dict[str, str] = {}
    counts = [threads] if threads else None
    way, options = best_way(f"{name}_step", "--clock", clock, formats=FORMS[name], counts=counts)
    hand = partial(loop, f"{name}_step", way, *options, figure="step")
    asked = str(threads) if threads else "auto"
    run = partial(dlx_run, name, chosen, CLOCKS[clock], asked)
    every = interleaved({"hand-written": hand, "dlx": run}, rounds)
    title = f"## {name} on digits, batch {BATCH}, Adam: milliseconds a step"
    form = ", channels last" if "--channels-last" in options else ""
    best_form = f"The best loop by hand: {way} of {CORES} threads{form}."
    return [title, f"{chosen[name]} {best_form}", table(every, "hand-written", 1e-3, "ms")]


# ---- 16 of them ----------------------------------------------------------------------------------------------------


def sweep_of(name: str, pack: int, clock: Callable[[], float]) -> float:
    """Seconds of `dlx sweep` over 16 rates, each with a seed of its own."""
    from dlx.sweeps.plan import plan
    from dlx.sweeps.run import SweepOptions, run

    path = spec_of(name, f"steps: 800, batch_size: {BATCH}, threads: 1, optimizer: {{adam: {{lr: 1e-3}}}}")
    rates = f"train.optimizer.adam.lr=choice({','.join(f'{rate:.3g}' for rate in RATES)})"
    how = [rates, "++sweep.sampler=grid", f"++sweep.metric={METRICS[name]}", f"++sweep.generation={len(RATES)}"]
    with tempfile.TemporaryDirectory() as folder:
        began = clock()
        ending = run(plan(path, how, Path(folder), len(RATES)), SweepOptions(pack=pack))
        spent = clock() - began
    states = [trial.state for trial in ending.study.trials]
    # a signal (`timeout`, Ctrl-C) lets a sweep end early, with trials that stopped: that is no time of all steps
    assert states == ["finished"] * len(RATES), f"the sweep ended as {ending.reason}, its trials as {states}"
    return spent


def many(name: str, rounds: int, clock: Callable[[], float]) -> list[str]:
    """Return the lines of 16 trainings."""
    one, packed = "one after the other", "packed"
    times = interleaved({one: lambda: sweep_of(name, 1, clock), packed: lambda: sweep_of(name, 16, clock)}, rounds, 0)
    return [f"## 16 dense {name.upper()}s on digits of different rates, 800 steps: seconds", table(times, one)]


def main() -> None:
    """Everything that is asked for, in turn."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="processor: other work weighs less")
    parser.add_argument("--threads", type=int, default=0, help="of all; 0: the best of one and all, and dlx chooses")
    parser.add_argument("what", nargs="*", default=["vae", "dcgan", "16-vae", "16-gan"])
    asked = parser.parse_args()
    clock = CLOCKS[asked.clock]
    jobs = {name: lambda name=name: steps_of(name, asked.rounds, asked.clock, asked.threads) for name in STEPS}
    packs = {f"16-{name}": lambda name=name: many(name, asked.rounds, clock) for name in ("vae", "gan")}
    every = {**jobs, **packs}
    publish("generative", "Several networks", [line for name in asked.what for line in every[name]()])


if __name__ == "__main__":
    main()
