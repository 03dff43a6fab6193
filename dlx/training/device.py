"""The device and threads of a training, and whether its network and batch fit into memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import DlxError, Mark, Problem
from ..graph import Graph, Graphs, memory_forecast, phase_memory
from ..lazy import torch
from ..shapes import bytes_text
from ..spec import Experiment, Train
from ..spec.sections.train import MOST_THREADS
from ..utils import environment
from ..utils.system import cores

if TYPE_CHECKING:
    from torch import device as Device

ONE_THREAD_BELOW = 50_000_000
"""MACs of a batch, forward, below which one CPU thread is taken: a second saves a tenth to a third of such a step on
an idle machine (benchmarks/threads.py), and makes it several times slower where other work keeps the cores."""

MEMORY_MARGIN = 0.85
"""The part of a forecast that is wanted for certain: it is within 15 % of what torch allocates
(benchmarks/memory.py)."""


def pick(name: str) -> Device:
    """Return the device that `auto`, `cpu`, `cuda`, `cuda:N` or `mps` means here; DlxError where it is not to be had.

    `auto` does not take `mps`, on which dlx is untried.
    """
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda:0" if found else "cpu")
    if name == "mps":
        return _metal()
    if not name.startswith("cuda"):
        return torch.device(name)
    index = int(name.partition(":")[2] or 0)
    if not found:
        why = "was built without CUDA" if torch.version.cuda is None else "finds no CUDA device here"
        raise DlxError(
            Problem(
                f"asked for {name}, and torch {torch.__version__} {why}",
                "Use `device: auto` or `device: cpu`.",
                path="train.device",
            )
        )
    if index >= found:
        raise DlxError(
            Problem(
                f"asked for {name}, and there {_count_text(found)}",
                f"Use cuda:0 to cuda:{found - 1}.",
                path="train.device",
            )
        )
    return torch.device("cuda", index)


def _metal() -> Device:
    """Return the GPU of a Mac. DlxError where torch was built without it, or finds none."""
    metal = torch.backends.mps
    if metal.is_available():
        return torch.device("mps")
    why = "finds no GPU of Apple's here" if metal.is_built() else "was built without Metal"
    message = f"asked for mps, and torch {torch.__version__} {why}"
    raise DlxError(Problem(message, "Use `device: auto` or `device: cpu`.", path="train.device"))


def can_pack(train: Train) -> bool:
    """Whether trainings on the chosen device can be packed into one stacked network, which is for the CPU alone.

    DlxError where the device is not to be had.
    """
    return train.device == "cpu" or pick(train.device).type == "cpu"


def packing_note(train: Train) -> str:
    """Return a sentence if the device keeps trainings from being packed, else an empty string."""
    if can_pack(train):
        return ""
    return f"Trainings on {pick(train.device)} take their steps one by one: they are packed on the CPU alone."


def _count_text(count: int) -> str:
    return "is one CUDA device" if count == 1 else f"are {count} CUDA devices"


def describe(device: Device) -> str:
    """Return `cpu`, or `cuda:0` with the name of the GPU."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def threads_for(train: Train, graph: Graph, examples: int, together: int = 1) -> int:
    """Return the number of CPU threads: that of the spec, or one if the batches of all trainings are small."""
    if train.threads != "auto":
        return train.threads
    return 1 if parallel_macs(graph) * train.batch(examples) * together < ONE_THREAD_BELOW else available_threads()


def parallel_macs(graph: Graph) -> int:
    """Return the MACs of a sample that threads can share: of a recurrent layer those of one time step."""
    return sum(node.plan.macs // node.plan.sequential_steps for node in graph.nodes)


def packing_threads(train: Train) -> int:
    """Return how many threads may step packed networks, each a part of them."""
    return available_threads() if train.threads == "auto" else train.threads


def available_threads() -> int:
    """Return the CPU threads where a spec leaves them open: DLX_THREADS, OMP_NUM_THREADS, else all cores.

    DlxError where the first is no number of threads. As OpenMP reads it, OMP_NUM_THREADS may be a list, `4,2`: the
    first number is of a loop that is in no other.
    """
    own = environment.count("DLX_THREADS", MOST_THREADS)
    of_openmp = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if own is None and of_openmp.isdecimal() and int(of_openmp):
        return min(int(of_openmp), MOST_THREADS)
    return own or cores()


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Set torch's CPU threads within the context, and restore their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def check_memory(graph: Graph, train: Train, free: int, place: Mark | None = None) -> None:
    """Raise DlxError where weights, gradients and optimizer state would not fit into `free` bytes."""
    values = {
        "weights": graph.params,
        "gradients": graph.trainable,
        "optimizer": graph.trainable * train.optimizer.state,
    }
    needed = 4 * sum(values.values())
    if needed <= free:
        return
    parts = ", ".join(f"{name} {bytes_text(4 * count)}" for name, count in values.items() if count)
    raise DlxError(
        Problem(
            f"{graph.params:,} parameters want {bytes_text(needed)} ({parts}), and {bytes_text(free)} are free",
            "Make the widest layer smaller: `dlx inspect` shows where the parameters are.",
            place,
            "network",
        )
    )


def check_batch(
    graph: Graph, train: Train, examples: int, free: int, place: Mark | None = None, samples: int = 1
) -> None:
    """Raise DlxError where a training step on a batch of a set of `examples` does not fit into `free` bytes.

    The network takes `samples` for each example.
    """
    batch = train.largest(examples)
    predicted = memory_forecast.forecast(graph, batch * samples, train.optimizer.state)
    if MEMORY_MARGIN * predicted.total <= free:
        return
    parts = f"activations {bytes_text(predicted.peak.activations)} of it"
    raise DlxError(
        Problem(
            f"a training step of {batch:,} samples wants about {bytes_text(predicted.total)} ({parts}), and "
            f"{bytes_text(free)} are free",
            "Lower `train.batch_size`: `dlx inspect --batch N` shows what N samples want.",
            place,
            "train.batch_size",
        )
    )


def check_phases(experiment: Experiment, graphs: Graphs, examples: int, free: int, place: Mark | None = None) -> None:
    """Raise DlxError where a phase of a step on a batch of a set of `examples` does not fit into `free` bytes."""
    assert experiment.train is not None
    batch = experiment.train.largest(examples)
    for name, predicted in phase_memory.of_phases(experiment, graphs, batch).items():
        if MEMORY_MARGIN * predicted.total > free:
            message = f"the phase `{name}` of a step of {batch:,} samples wants about {bytes_text(predicted.total)}"
            message += (
                f" (activations {bytes_text(predicted.peak.activations)} of it), and {bytes_text(free)} are free"
            )
            hint = "Lower `train.batch_size`: `dlx inspect --batch N` shows what N samples want."
            raise DlxError(Problem(message, hint, place, "train.batch_size"))


def free_memory(device: Device | None = None) -> int:
    """Return the free bytes of a device; without one, those of this machine, for which torch is not needed."""
    if device is not None and device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return int(psutil.virtual_memory().available)
