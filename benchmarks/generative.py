"""Several networks: a step of a VAE and of a DCGAN on digits against the best hand-written loop, and 16 side by side.

    python benchmarks/generative.py [--rounds N] [--clock processor] [--threads N] [vae] [dcgan] [16-vae] [16-gan]

The loops by hand have all pictures in one tensor, one permutation an epoch, fused optimizers, gradients cleared to
None and no `.item()`; convolutions are tried with channels first and last. The one whose median is lower counts. Of
dlx the run of `dlx train` is timed behind the first third of its steps, in which it chooses its way; curve, records
and checkpoints are on, the mirror in MLflow is off.

16: trainings of as many rates and seeds as `dlx sweep` runs them, packed and one after the other, with a journal and
a folder for each, from the plan to the last result.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # what dlx sets; the other loops get it too

import torch
from common import interleaved, publish, table
from texts import CLOCKS, CORES, steady
from torch import nn
from torch.nn import functional as F

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
BATCH = 64
METRICS = {"vae": "valid/loss", "gan": "valid/generator/loss"}


# ---- the same by hand ----------------------------------------------------------------------------------------------


def digits() -> torch.Tensor:
    """Return the pictures that the specs train on, (1438, 1, 8, 8)."""
    from sklearn.datasets import load_digits

    pictures = torch.from_numpy(load_digits().images.astype("float32") / 16)[:, None]
    return pictures[: len(pictures) - round(0.2 * len(pictures))]


def vae_by_hand(steps: int, clock: Callable[[], float], _: torch.memory_format) -> list[float]:
    x, times = digits(), []
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 24))
    decoder = nn.Sequential(nn.Linear(12, 128), nn.ReLU(), nn.Linear(128, 64), nn.Unflatten(1, (1, 8, 8)))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3, fused=True)
    while len(times) < steps:
        for index in torch.randperm(len(x)).split(BATCH):
            some = x[index]
            mean, log_variance = encoder(some).chunk(2, 1)
            z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
            error = F.binary_cross_entropy_with_logits(decoder(z), some, reduction="sum")
            divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
            optimizer.zero_grad(set_to_none=True)
            ((error + divergence) / len(some)).backward()
            optimizer.step()
            times.append(clock())
    return times


def dcgan_by_hand(steps: int, clock: Callable[[], float], form: torch.memory_format) -> list[float]:
    x, times = digits(), []
    generator = nn.Sequential(
        nn.Linear(32, 512, bias=False),
        nn.Unflatten(1, (128, 2, 2)),
        nn.BatchNorm2d(128),
        nn.ReLU(),
        nn.ConvTranspose2d(128, 64, 4, 2, 1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.ConvTranspose2d(64, 1, 4, 2, 1),
        nn.Sigmoid(),
    ).to(memory_format=form)
    discriminator = nn.Sequential(
        nn.Conv2d(1, 32, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(32, 64, 4, 2, 1, bias=False),
        nn.BatchNorm2d(64),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(256, 1),
    ).to(memory_format=form)
    first, second = (torch.optim.Adam(n.parameters(), lr=1e-3, fused=True) for n in (discriminator, generator))
    moved = list(generator.parameters())
    while len(times) < steps:
        for index in torch.randperm(len(x)).split(BATCH):
            some = x[index]
            with torch.no_grad():
                made = generator(torch.randn(len(some), 32))
            first.zero_grad(set_to_none=True)
            (F.softplus(-discriminator(some)).mean() + F.softplus(discriminator(made)).mean()).backward()
            first.step()
            second.zero_grad(set_to_none=True)
            loss = F.softplus(-discriminator(generator(torch.randn(len(some), 32)))).mean()
            loss.backward(inputs=moved)
            second.step()
            times.append(clock())
    return times


HANDS = {"vae": vae_by_hand, "dcgan": dcgan_by_hand}
FORMS = {"vae": [torch.contiguous_format], "dcgan": [torch.contiguous_format, torch.channels_last]}


def by_hand(name: str, threads: int, form: torch.memory_format, clock: Callable[[], float]) -> float:
    """Seconds a step of the loop with autograd."""
    torch.set_num_threads(threads)
    return steady(HANDS[name](STEPS[name], clock, form))


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


def steps_of(name: str, rounds: int, clock: Callable[[], float], threads: int) -> list[str]:
    """Return the lines of one case."""
    chosen: dict[str, str] = {}
    counts = [threads] if threads else sorted({1, CORES})
    tries = [(n, form) for n in counts for form in FORMS[name]]
    jobs: dict[str, Callable[[], float]] = {
        f"{n} {form}": (lambda n=n, form=form: by_hand(name, n, form, clock)) for n, form in tries
    }
    asked = str(threads) if threads else "auto"
    times = interleaved(jobs | {"dlx": lambda: dlx_run(name, chosen, clock, asked)}, rounds)
    tried = {title: times.pop(title) for title in jobs}
    best = min(tried, key=lambda title: statistics.median(tried[title]))
    every = {"hand-written": tried[best], **times}
    title = f"## {name} on digits, batch {BATCH}, Adam: milliseconds a step"
    best_form = f"The best loop by hand: {best.replace('torch.', '')} (threads, memory format)."
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
    jobs = {name: lambda name=name: steps_of(name, asked.rounds, clock, asked.threads) for name in HANDS}
    packs = {f"16-{name}": lambda name=name: many(name, asked.rounds, clock) for name in ("vae", "gan")}
    every = {**jobs, **packs}
    publish("generative", "Several networks", [line for name in asked.what for line in every[name]()])


if __name__ == "__main__":
    main()
