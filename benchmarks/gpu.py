"""All that wants a GPU, in one go of at most twelve minutes: speed, packing, waits for the device, the CUDA tests.

    python benchmarks/gpu.py            on the first CUDA device
    python benchmarks/gpu.py --dry      on the CPU with few steps: that the script runs; its figures mean nothing

Every case has its part of the time and is passed over where that is gone; the page is written after each, so that
whatever ends the script leaves what there was.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from common import HERE, ROOT, machine
from larger import LENET, RESNET, lenet, resnet
from loops import on_device
from torch import nn

MINUTES = 11.5
ROUNDS = 5
SMALL = """
network: {layers: [{linear: 100}, relu, {linear: 100}, relu, {linear: 10}]}
"""


@dataclass(frozen=True)
class Case:
    """A network with its training, in dlx's words and by hand."""

    title: str
    spec: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    batch: int
    train: str
    optimizer: Callable[[nn.Module, bool], torch.optim.Optimizer]
    steps: int
    """Steps that are timed at once."""


def small() -> nn.Module:
    return nn.Sequential(nn.Linear(40, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 10))


def sgd(network: nn.Module, fused: bool) -> torch.optim.Optimizer:
    return torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, fused=fused)


def adam(network: nn.Module, fused: bool) -> torch.optim.Optimizer:
    return torch.optim.Adam(network.parameters(), lr=1e-3, fused=fused)


BF16 = "precision: bf16, channels_last: true, optimizer: {sgd: {lr: 0.01, momentum: 0.9}}"
CASES = {
    "resnet": Case("ResNet-18 on 32x32, batch 512, bf16", RESNET, resnet, (3, 32, 32), 512, BF16, sgd, 100),
    "lenet": Case("LeNet, batch 64, Adam", LENET, lenet, (1, 28, 28), 64, "optimizer: {adam: 1e-3}", adam, 500),
    "small": Case("40-100-100-10, batch 100, Adam", SMALL, small, (40,), 100, "optimizer: {adam: 1e-3}", adam, 500),
}


class Script:
    """The device, the clock, and the page that grows."""

    def __init__(self, *, dry: bool) -> None:
        self.dry, self.began = dry, time.monotonic()
        self.device = torch.device("cpu" if dry else "cuda:0")
        name = "no GPU: a dry run on the CPU, whose figures mean nothing" if dry else torch.cuda.get_device_name(0)
        today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
        self.path = HERE / "results" / f"{today}-gpu{'-dry' if dry else ''}.md"
        cuda = "" if dry else f", CUDA {torch.version.cuda}"
        self.lines = ["# On a GPU", f"{today}. {name}{cuda}. {machine()}."]

    @property
    def left(self) -> float:
        return MINUTES * 60 - (time.monotonic() - self.began)

    def section(self, title: str, seconds: float, work: Callable[[], list[str]]) -> None:
        """Add a section, with the error where it fails, or why it was left out."""
        if self.left < seconds:
            self.lines.append(f"## {title}\n\nLeft out: {self.left:.0f} s were left, and it takes {seconds:.0f}.")
        else:
            try:
                found = work()
            except Exception:  # noqa: BLE001  the next section has its own chance
                found = ["It failed:", f"```\n{traceback.format_exc()[-2000:]}\n```"]
            self.lines.append("\n\n".join([f"## {title}", *found]))
        sys.stdout.write(self.lines[-1] + "\n\n")
        sys.stdout.flush()
        if not self.dry:
            self.path.parent.mkdir(exist_ok=True)
            self.path.write_text("\n\n".join(self.lines) + "\n")

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def steps(self, case: Case) -> int:
        return 4 if self.dry else case.steps

    def data(self, case: Case) -> tuple[torch.Tensor, torch.Tensor]:
        examples = case.batch * (2 if self.dry else 50)
        made = torch.Generator().manual_seed(0)
        x = torch.randn(examples, *case.shape, generator=made)
        return x.to(self.device), torch.randint(0, 10, (examples,), generator=made).to(self.device)


# ---- dlx -----------------------------------------------------------------------------------------------------------


def text_of(script: Script, case: Case, more: str = "") -> str:
    examples = case.batch * (2 if script.dry else 50)
    data = f"data: {{synthetic: {{shape: {list(case.shape)}, train: {examples}, test: null, rule: random}}}}"
    train = (
        f"train: {{steps: 10_000_000, batch_size: {case.batch}, device: {script.device.type}, {case.train}{more}}}"
    )
    return f"dlx: 1\nname: gpu\n{data}\nobjective: classification\n{case.spec}\n{train}\ntrack: {{mlflow: false}}\n"


@contextlib.contextmanager
def written(text: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dlx-gpu-") as folder:
        path = Path(folder) / "gpu.yaml"
        path.write_text(text)
        yield path


def dlx_steps(script: Script, case: Case) -> on_device.Take:
    """Return dlx's own loop: its chunks of steps, and the points of the curve between them."""
    from dlx.experiment.session import job_of
    from dlx.spec import load
    from dlx.training.batches.step_chunk import StepChunk
    from dlx.training.fit import training_events
    from dlx.training.prepared import prepare

    with written(text_of(script, case)) as path:
        job = job_of(prepare(load(path)))
    events = training_events(job)

    def take(steps: int) -> None:
        until = job.progress.step + steps
        while job.progress.step < until:
            event = next(events)
            if isinstance(event, StepChunk):
                event.run(job.learner.current_update())

    take.job = job  # type: ignore[attr-defined]
    return take


def milliseconds(script: Script, takes: dict[str, on_device.Take], steps: int) -> dict[str, list[float]]:
    """Return milliseconds a step of each, in turn; the first turn, in which kernels are chosen, does not count."""
    found: dict[str, list[float]] = {name: [] for name in takes}
    for turn in range(2 if script.dry else ROUNDS + 1):
        for name, take in takes.items():
            script.wait()
            began = time.perf_counter()
            take(steps)
            script.wait()
            if turn:
                found[name].append((time.perf_counter() - began) * 1e3 / steps)
    return found


def compared(script: Script, case: Case, *, bf16: bool, against: str, target: str) -> list[str]:
    """Return the table of dlx and both loops, with the ratio of steps a second to one of them."""
    x, y = script.data(case)
    nets = [case.build().to(script.device) for _ in range(2)]
    takes = {
        "dlx": dlx_steps(script, case),
        "best by hand": on_device.best(nets[0], x, y, case.batch, case.optimizer(nets[0], True), bf16=bf16),
    }
    if against == "naive":
        takes["naive"] = on_device.naive(nets[1], x, y, case.batch, case.optimizer(nets[1], False))
    times = milliseconds(script, takes, script.steps(case))
    ratio = statistics.median(a / b for a, b in zip(times[against], times["dlx"], strict=True))
    rows = ["| what | ms a step | least | most |", "|---|---|---|---|"]
    rows += [
        f"| {name} | {statistics.median(each):.3f} | {min(each):.3f} | {max(each):.3f} |"
        for name, each in times.items()
    ]
    way = takes["dlx"].job.learner.way  # type: ignore[attr-defined]
    said = f"dlx takes {ratio:.2f} of the steps a second of {against} (target: {target}), by {way or 'plain steps'}."
    return ["\n".join(rows), said]


# ---- the other sections --------------------------------------------------------------------------------------------


def packed(script: Script) -> list[str]:
    """Return the seconds of 64 seeds in one command against one seed, or why they are not packed."""
    from dlx.experiment import runner
    from dlx.spec import load

    seeds, case = (2 if script.dry else 64), CASES["small"]
    found: dict[int, float] = {}
    notes: list[str] = []
    for count in (1, seeds):
        text = text_of(script, case, f", seeds: {count}").replace("10_000_000", "20" if script.dry else "1000")
        with written(text) as path:
            began = time.perf_counter()
            runner.run(load(path), path.parent / "runs", lambda event: notes.extend(getattr(event, "notes", ())))
            script.wait()
            found[count] = time.perf_counter() - began
    ratio = found[1] * seeds / found[seeds]
    said = f"{seeds} seeds take 1/{ratio:.1f} of the time of {seeds} times one (target: 1/20, or a refusal to pack)."
    return [said, *(f"dlx says: {note}" for note in dict.fromkeys(notes))]


def waits(script: Script) -> list[str]:
    """Return whether steps between two points of the curve wait for the device: torch raises where one does."""
    if script.device.type != "cuda":
        return ["Not tried: there is no device to wait for."]
    said = []
    for name, case in CASES.items():
        take = dlx_steps(script, case)
        take(60)
        job = take.job  # type: ignore[attr-defined]
        from dlx.training.batches.step_chunk import step_chunks

        job.progress.losses.clear()
        job.progress.pending_points.clear()
        torch.cuda.set_sync_debug_mode("error")
        try:
            for chunk in step_chunks(job, most=20):
                chunk.run(job.learner.current_update())
                break
            said.append(f"{name}: no wait for the device in {chunk.done} steps.")
        except RuntimeError as error:
            said.append(f"{name}: **waits**: {error}")
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return said


def tests(script: Script) -> list[str]:
    """Return the last lines of the tests that need CUDA."""
    where = ["tests/training/test_compute.py", "tests/training/test_device.py", "tests/experiment/test_packing.py"]
    if script.dry:
        where = where[1:2]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "cuda", *where]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=max(30.0, script.left - 10)
    )
    return [f"`pytest -m cuda`: {' '.join(done.stdout.strip().splitlines()[-1:])}"]


def main() -> None:
    """Every section in its time, the dearest last."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dry", action="store_true")
    asked = parser.parse_args()
    if not asked.dry and not torch.cuda.is_available():
        parser.error("torch finds no CUDA device here: `--dry` runs the script on the CPU")
    script = Script(dry=asked.dry)
    if asked.dry:
        # a CPU without instructions for bf16 takes minutes for a step of it
        CASES.update({n: replace(c, batch=4, train=c.train.replace("bf16", "fp32")) for n, c in CASES.items()})
    for name in ("small", "lenet"):
        case = CASES[name]
        work = lambda case=case: compared(script, case, bf16=False, against="naive", target="at least 5")  # noqa: E731
        script.section(case.title, 60, work)
    resnet_case = CASES["resnet"]
    script.section(
        resnet_case.title,
        90,
        lambda: compared(script, resnet_case, bf16=not script.dry, against="best by hand", target="at least 0.97"),
    )
    script.section("Waits for the device", 30, lambda: waits(script))
    script.section("64 seeds", 120, lambda: packed(script))
    script.section("Tests", 60, lambda: tests(script))


if __name__ == "__main__":
    main()
