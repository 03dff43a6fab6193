"""How many workers the GPUs of this machine have room for, and which GPU each takes. No torch, no CUDA context."""

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
"""Bytes of a GPU that a process takes for CUDA itself: 287 MB where kernels are loaded as they are used, 667 MB where
all are (github.com/pytorch/pytorch/pull/86509)."""
SAFE = 0.8
"""The part of what is free that workers share. A forecast is of what torch asks for on a CPU: it knows neither the
workspaces of cuDNN nor what torch's allocator keeps in pieces that nobody can use."""
PATIENCE = 10.0
"""Seconds that nvidia-smi has for its answer."""
ASKED = ("nvidia-smi", "--query-gpu=index,uuid,memory.free", "--format=csv,noheader,nounits")


@dataclass(frozen=True)
class Gpu:
    """A GPU that may be taken, and its free bytes: without end where nobody tells them."""

    name: str
    """As CUDA_VISIBLE_DEVICES has it; empty where the spec says which one it is."""
    free: float = inf

    @property
    def environment(self) -> dict[str, str]:
        """What makes it the GPU of a process."""
        return {"CUDA_VISIBLE_DEVICES": self.name} if self.name else {}


@dataclass(frozen=True)
class MemoryDemand:
    """Bytes that a training wants beside CUDA itself."""

    step: int
    """Of a training step, by forecast."""
    data: int = 0
    """Of its data set, which a worker has once."""
    packs: bool = False
    """Whether it may be one stacked network with others."""

    def bytes(self, together: int) -> int:
        """With so many trainings in a stack."""
        return self.data + self.step * (together if self.packs else 1)


@dataclass(frozen=True)
class Placement:
    """By number, the place of each worker's GPU among those there are; and what a worker wants, with CUDA itself."""

    gpus: tuple[int, ...]
    bytes: int


def placed(free: Sequence[float], forecasts: Collection[int], jobs: int) -> Placement:
    """Up to `jobs` workers on GPUs with `free` bytes, each where most room is, as many as there is room for.

    What a worker takes is the largest forecast and CUDA itself. The first is placed whether it fits or not: where it
    does not, its training says so.
    """
    wants = max(forecasts, default=0) + CONTEXT
    rooms, found = [SAFE * there for there in free], list[int]()
    while len(found) < jobs:
        best = max(range(len(rooms)), key=lambda gpu: (rooms[gpu], -found.count(gpu), -gpu))
        if found and rooms[best] < wants:
            break
        rooms[best] -= wants
        found.append(best)
    return Placement(tuple(found), wants)


def shared(free: Sequence[float], wants: Collection[MemoryDemand], jobs: int, tasks: int, pack: int) -> Placement:
    """Up to `jobs` workers for so many trainings, of which up to `pack` are one: fewer workers have larger stacks."""
    for count in range(jobs, 1, -1):
        together = max(1, min(pack, -(-tasks // count)))
        found = placed(free, [one.bytes(together) for one in wants], count)
        if len(found.gpus) == count:
            return found
    return placed(free, [one.bytes(min(pack, tasks)) for one in wants], 1)


def useful(gpus: Sequence[Gpu], wants: Collection[MemoryDemand], tasks: int, pack: int, cores: int) -> int:
    """How many workers so many trainings could use: one a GPU, or one a training that is not packed, up to the cores.

    One a GPU, too, where nobody tells what is free.
    """
    known = all(gpu.free < inf for gpu in gpus)
    batches = -(-tasks // pack) if all(one.packs for one in wants) else tasks
    return max(1, min(tasks, cores, max(len(gpus), batches if known else 0)))


def told(gpus: Sequence[Gpu], found: Placement, jobs: int | None) -> str:
    """How many workers there are, and why not as many as were asked for."""
    count, free = len(found.gpus), " and ".join(bytes_text(gpu.free) for gpu in gpus if gpu.free < inf)
    asked = f", not {jobs:,}," if jobs is not None else ""
    one = f"one wants about {bytes_text(found.bytes)}, {bytes_text(CONTEXT)} of it for CUDA itself"
    room = f"; {free} {'is' if len(gpus) == 1 else 'are'} free, and {SAFE:.0%} of that is shared out" if free else ""
    return f"{plural(count, 'worker')}{asked} on {plural(len(gpus), 'GPU')}: {one}{room}"


# --- what there is --------------------------------------------------------------------------------------------------


def there(device: str) -> list[Gpu]:
    """The GPUs that trainings on a `device` of a spec may take, as they are now."""
    if device == "cpu":
        return []
    found = visible(_answer(), os.environ.get("CUDA_VISIBLE_DEVICES"), _numbers())
    _, named, number = device.partition(":")
    if not named:
        return found
    return [Gpu("", found[int(number)].free)] if int(number) < len(found) else []


def visible(answer: str, chosen: str | None, numbers: Sequence[str]) -> list[Gpu]:
    """The GPUs of an answer of nvidia-smi, or of CUDA_VISIBLE_DEVICES, in its order and by its names.

    `numbers` are those of the devices there are, where nvidia-smi is not. It tells nothing of a part of a GPU (MIG).
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


def _answer() -> str:
    """What nvidia-smi says of each GPU; nothing where it is not, or finds none."""
    try:
        done = subprocess.run(ASKED, capture_output=True, text=True, timeout=PATIENCE, check=False)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _numbers() -> list[str]:
    """Of the GPUs that Linux has."""
    return [path.name.removeprefix("nvidia") for path in sorted(Path("/dev").glob("nvidia[0-9]*"))]
