"""What a training step allocates, against what `dlx inspect --batch N` forecasts.

Measured in a process of its own for each case, on two training steps with the fused optimizer:

- total: the largest sum of bytes that torch's CPU allocator has handed out and not got back, as torch's profiler
  records it, the network and the batch included. All tensors are in it, and the copies that oneDNN makes in torch's
  memory.
- activations: the storages that autograd keeps at the end of the forward pass (saved_tensors_hooks), each once,
  without the parameters; and the batch.
- weights, gradients, optimizer: the bytes of the tensors.
- pages, the second witness: the most that a process without the profiler held (VmHWM) above what it held before the
  network was built, where the C library gives each tensor pages of its own and takes them back at once
  (MALLOC_MMAP_THRESHOLD_=65536).
- process: the same as the C library does it by default. It keeps what was freed for later, in pieces, and so a
  process can hold well more than torch has allocated.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import ROOT, publish

UNET = "network:\n  inputs: [1, 256, 256]\n  layers:\n" + "\n".join(
    f"    - {entry}"
    for entry in (
        *(line for width in (64, 128, 256, 512) for line in (f"double: {{width: {width}}}", "max_pool: 2")),
        "double: {width: 1024}",
        *(
            line
            for level, width in ((7, 512), (5, 256), (3, 128), (1, 64))
            for line in (
                f"conv_transpose: {{out_channels: {width}, kernel_size: 2, stride: 2}}",
                f"concat: {{}}\n      from: [double_{level // 2 + 1}, prev]",
                f"double: {{width: {width}}}",
            )
        ),
        "conv: {out_channels: 2, kernel_size: 1}",
    )
)
DOUBLE = """
blocks:
  double:
    args: {width: null}
    layers:
      - repeat:
          times: 2
          layers:
            - conv: {out_channels: "${width}", kernel_size: 3, padding: 1}
            - batch_norm
            - relu
"""
"""Ronneberger et al. 2015, arXiv:1505.04597, with padding, so that sizes stay, and batch normalisation."""

CASES = {
    "AlexNet, 3x224x224": ("specs/cs231n/alexnet.yaml", (16, 64)),
    "ResNet-18, 3x224x224": ("specs/cs231n/resnet18.yaml", (8, 32)),
    "U-Net, 1x256x256": ("unet", (1, 4)),
}
OPTIMIZERS = {"sgd": {"momentum": 0.9}, "adam": {}}
PARTS = ("weights", "gradients", "optimizer", "activations", "total")
STEPS = 2
PAGES = {"MALLOC_MMAP_THRESHOLD_": "65536"}


def spec(name: str, folder: str) -> Path:
    if name != "unet":
        return ROOT / name
    path = Path(folder) / "unet.yaml"
    path.write_text(DOUBLE + UNET + "\n")
    return path


def forecast(path: Path, batch: int, optimizer: str) -> dict[str, int]:
    """What dlx says, in this process: no torch."""
    from dlx.graph import memory_forecast, trace
    from dlx.optim import OPTIMIZERS as KINDS
    from dlx.spec import load

    measured = memory_forecast.forecast(
        trace(load(path)), batch, KINDS[optimizer](**OPTIMIZERS[optimizer]).state
    ).as_json()
    return {part: measured[part] for part in PARTS}


def measured(
    path: Path, batch: int, optimizer: str, how: str, environment: dict[str, str] | None = None
) -> dict[str, int]:
    """The measurement of a child process."""
    command = [sys.executable, __file__, "--measure", how, str(path), str(batch), optimizer]
    environment = {**os.environ, **(environment or {})}
    ran = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env=environment)
    found: dict[str, int] = json.loads(ran.stdout.splitlines()[-1])
    return found


class Training:
    """A network, its optimizer and a batch; each step says what is there after the forward and the backward pass."""

    def __init__(self, path: Path, batch: int, optimizer: str) -> None:
        import torch

        from dlx import network
        from dlx.graph import trace
        from dlx.optim import OPTIMIZERS as KINDS
        from dlx.spec import load

        traced = trace(load(path))
        self.network = network.build(traced).train()
        self.optimizer = KINDS[optimizer](**OPTIMIZERS[optimizer]).build(self.network.parameters())
        (x,), shape = traced.inputs.values(), traced.output_shape()
        self.x, self.y = torch.randn(batch, *x), torch.zeros(batch, *shape.size, dtype=torch.long)

    def step(self) -> None:
        from torch.nn.functional import cross_entropy

        self.optimizer.zero_grad()
        cross_entropy(self.network(self.x), self.y).backward()
        self.optimizer.step()

    def parts(self) -> dict[str, int]:
        """Bytes of the tensors after a step, and of what a forward pass keeps."""
        from torch.autograd.graph import saved_tensors_hooks

        weights = list(self.network.parameters())
        saved: list[Any] = [self.x]
        with saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
            _ = self.network(self.x)
        storages = {s.data_ptr(): s.nbytes() for t in saved for s in [t.untyped_storage()]}
        states = [v for state in self.optimizer.state.values() for v in state.values() if hasattr(v, "nbytes")]
        return {
            "weights": sum(w.nbytes for w in weights),
            "gradients": sum(w.grad.nbytes for w in weights if w.grad is not None),
            "optimizer": sum(v.nbytes for v in states),
            "activations": sum(storages.values())
            - sum(storages.get(w.untyped_storage().data_ptr(), 0) for w in weights),
        }


def by_profiler(path: Path, batch: int, optimizer: str) -> dict[str, int]:
    """The peak of torch's allocator, and the parts."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        training = Training(path, batch, optimizer)
        for _ in range(STEPS):
            training.step()
    with tempfile.TemporaryDirectory() as folder:
        profiled.export_chrome_trace(f"{folder}/trace.json")
        events = json.loads(Path(folder, "trace.json").read_text())["traceEvents"]
    total = max(event["args"]["Total Allocated"] for event in events if event["name"] == "[memory]")
    return {**training.parts(), "total": total}


def by_process(path: Path, batch: int, optimizer: str) -> dict[str, int]:
    """The peak of the process above where it was before the network."""
    with tempfile.TemporaryDirectory() as folder:  # everything is loaded, threads are there
        tiny = Path(folder) / "tiny.yaml"
        conv = "{conv: {out_channels: 16, kernel_size: 3}}"
        tiny.write_text(f"network: {{inputs: [3, 32, 32], layers: [{conv}, relu, flatten, {{linear: 10}}]}}\n")
        Training(tiny, 8, optimizer).step()
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts anew
    before = status("VmRSS")
    training = Training(path, batch, optimizer)
    for _ in range(STEPS):
        training.step()
    return {"total": status("VmHWM") - before}


def status(key: str) -> int:
    """Bytes that /proc/self/status gives for a key."""
    found = re.search(rf"^{key}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return 1024 * int(found.group(1))


def rows() -> Iterator[str]:
    """A row a case: for each part measured / forecast, then the bytes and the second witnesses."""
    with tempfile.TemporaryDirectory() as folder:
        for title, (name, batches) in CASES.items():
            path = spec(name, folder)
            for batch in batches:
                for optimizer in OPTIMIZERS:
                    measured = forecast(path, batch, optimizer)
                    seen = measured(path, batch, optimizer, "profiler")
                    pages = measured(path, batch, optimizer, "process", PAGES)["total"]
                    process = measured(path, batch, optimizer, "process")["total"]
                    ratios = [f"{seen[part] / measured[part]:.3f}" for part in PARTS]
                    ratios += [f"{held / measured['total']:.2f}" for held in (pages, process)]
                    row = [title, str(batch), optimizer, *ratios]
                    row += [f"{each['total'] / 1e6:,.0f}" for each in (seen, measured)]
                    yield f"| {' | '.join(row)} |"


def main() -> None:
    """Every case, measured twice, against the forecast."""
    if "--measure" in sys.argv:
        how, path, batch, optimizer = sys.argv[2:]
        measure = {"profiler": by_profiler, "process": by_process}[how]
        print(json.dumps(measure(Path(path), int(batch), optimizer)))
        return
    titles = ["network", "batch", "optimizer", *PARTS, "pages", "process", "measured MB", "forecast MB"]
    table = "\n".join([f"| {' | '.join(titles)} |", "|---" * len(titles) + "|", *rows()])
    notes = (
        "Weights to process are measured / forecast, the last two against the total. SGD has momentum 0.9. The total "
        "is the peak of torch's allocator: gradients of weights appear while activations go, so the parts add up to "
        "more. `pages` is the growth of a process in which each tensor has pages of its own, `process` that of one "
        "whose C library keeps what was freed, as it does by default."
    )
    publish("memory", "The memory of a training step: measured / forecast", [table, notes])


if __name__ == "__main__":
    main()
