"""Placement of workers on the GPUs of this machine by their free memory. No torch, no CUDA context."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import takewhile
from math import inf
from pathlib import Path

from ...errors import plural
from ...shapes import bytes_text

CONTEXT = 700_000_000
"""Bytes of a GPU that a process needs for CUDA itself: 287 MB where kernels are loaded as they are used, 667 MB
where all are (github.com/pytorch/pytorch/pull/86509)."""
SAFE_FRACTION = 0.8
"""Fraction of the free memory that workers share. The forecast is of what torch allocates on a CPU: it includes
neither the workspaces of cuDNN nor what torch's allocator loses to fragmentation."""
TIMEOUT = 10.0
"""Seconds that nvidia-smi has for its answer."""
NVIDIA_SMI = ("nvidia-smi", "--query-gpu=index,uuid,memory.free", "--format=csv,noheader,nounits")


@dataclass(frozen=True)
class Gpu:
    """A GPU that may be used, and its free bytes: infinite where they are unknown."""

    name: str
    """Name in CUDA_VISIBLE_DEVICES; empty where the spec names the device."""
    free: float = inf

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that make it the GPU of a process."""
        return {"CUDA_VISIBLE_DEVICES": self.name} if self.name else {}


@dataclass(frozen=True)
class MemoryDemand:
    """GPU memory that a training needs beside CUDA itself, in bytes."""

    step: int
    """Bytes of a training step, by forecast."""
    data: int = 0
    """Bytes of its data set, which a worker holds once."""
    packs: bool = False
    """Whether it may be one stacked network with others."""

    def bytes(self, together: int) -> int:
        """Return the bytes of a stack of `together` trainings."""
        return self.data + self.step * (together if self.packs else 1)


@dataclass(frozen=True)
class Placement:
    """Index of each worker's GPU, and the bytes that a worker needs, CUDA included."""

    gpus: tuple[int, ...]
    bytes: int


def place(free: Sequence[float], forecasts: Collection[int], jobs: int) -> Placement:
    """Place up to `jobs` workers on GPUs with `free` bytes, each where most is free, as many as fit.

    A worker takes the largest forecast and CUDA itself. The first is placed in any case: where it does not fit, its
    training says so.
    """
    demands = max(forecasts, default=0) + CONTEXT
    rooms, found = [SAFE_FRACTION * available for available in free], list[int]()
    while len(found) < jobs:
        best = max(range(len(rooms)), key=lambda gpu: (rooms[gpu], -found.count(gpu), -gpu))
        if found and rooms[best] < demands:
            break
        rooms[best] -= demands
        found.append(best)
    return Placement(tuple(found), demands)


def place_packed(
    free: Sequence[float], demands: Collection[MemoryDemand], jobs: int, tasks: int, pack: int
) -> Placement:
    """Place up to `jobs` workers for `tasks` trainings in stacks of up to `pack`: fewer workers have larger
    stacks.
    """
    for count in range(jobs, 1, -1):
        together = max(1, min(pack, -(-tasks // count)))
        found = place(free, [one.bytes(together) for one in demands], count)
        if len(found.gpus) == count:
            return found
    return place(free, [one.bytes(min(pack, tasks)) for one in demands], 1)


def useful_workers(gpus: Sequence[Gpu], demands: Collection[MemoryDemand], tasks: int, pack: int, cores: int) -> int:
    """Return how many workers the trainings could use: one a GPU, or one a training that is not packed, up to the
    cores.

    One a GPU, too, where the free memory is unknown.
    """
    known = all(gpu.free < inf for gpu in gpus)
    batches = -(-tasks // pack) if all(one.packs for one in demands) else tasks
    return max(1, min(tasks, cores, max(len(gpus), batches if known else 0)))


def placement_text(gpus: Sequence[Gpu], found: Placement, jobs: int | None) -> str:
    """Return the number of workers, and why it is not the number that was asked for."""
    count, free = len(found.gpus), " and ".join(bytes_text(gpu.free) for gpu in gpus if gpu.free < inf)
    asked = f", not {jobs:,}," if jobs is not None else ""
    one = f"one wants about {bytes_text(found.bytes)}, {bytes_text(CONTEXT)} of it for CUDA itself"
    room = (
        f"; {free} {'is' if len(gpus) == 1 else 'are'} free, and {SAFE_FRACTION:.0%} of that is shared out"
        if free
        else ""
    )
    return f"{plural(count, 'worker')}{asked} on {plural(len(gpus), 'GPU')}: {one}{room}"


# --- what there is --------------------------------------------------------------------------------------------------


def available(device: str) -> list[Gpu]:
    """Return the GPUs that trainings on a `device` of a spec may use, as they are now."""
    if device == "cpu":
        return []
    found = visible(_nvidia_smi(), os.environ.get("CUDA_VISIBLE_DEVICES"), _numbers())
    _, named, number = device.partition(":")
    if not named:
        return found
    return [Gpu("", found[int(number)].free)] if int(number) < len(found) else []


def visible(answer: str, chosen: str | None, numbers: Sequence[str]) -> list[Gpu]:
    """Return the GPUs of an answer of nvidia-smi, or of CUDA_VISIBLE_DEVICES, in its order and by its names.

    `numbers` are those of the devices in /dev, for machines without nvidia-smi. Of a part of a GPU (MIG) the free
    memory is unknown.
    """
    rows = [[cell.strip() for cell in line.split(",")] for line in answer.splitlines() if line.count(",") == 2]
    if not rows and not numbers:
        return []
    if chosen is None:
        return [Gpu(uuid, _bytes(free)) for _, uuid, free in rows] or [Gpu(number) for number in numbers]
    names = takewhile(lambda name: name and name != "-1", (name.strip() for name in chosen.split(",")))
    return [
        Gpu(name, next((_bytes(f) for index, uuid, f in rows if index == name or uuid.startswith(name)), inf))
        for name in names
    ]


def _bytes(mebibytes: str) -> float:
    return int(mebibytes) * 2**20 if mebibytes.isdigit() else inf


def _nvidia_smi() -> str:
    """Return the answer of nvidia-smi; empty where it is missing, or finds no GPU."""
    try:
        done = subprocess.run(NVIDIA_SMI, capture_output=True, text=True, timeout=TIMEOUT, check=False)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _numbers() -> list[str]:
    """Return the numbers of the GPUs in /dev."""
    return [path.name.removeprefix("nvidia") for path in sorted(Path("/dev").glob("nvidia[0-9]*"))]
