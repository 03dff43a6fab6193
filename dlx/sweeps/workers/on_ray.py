"""Trainers on a Ray cluster: RAY_ADDRESS, or one that is started here. The run folders lie where all nodes see them.

A trial on a node that dies is taken up from its checkpoint on another one.
"""

from __future__ import annotations

import importlib
import os
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from ...errors import DlxError, RunError, plural
from .base import Halting, Task, Trainer, TrialOutcome
from .processes import TRIES

LOOK = 0.2
"""Seconds between two looks whether the sweep is to halt."""
MISSING = "Ray is not installed"
HOW = "`pip install 'dlx[ray]'` brings it; `--backend local --jobs N` takes processes of this machine."

_TRAINERS: dict[int, Trainer] = {}
"""The trainer of this process of Ray's, which may be given one batch after another."""


class OnRay:
    """Up to `jobs` batches at a time; with one, as many as the cluster has cores."""

    def __init__(self, jobs: int, pack: int = 1) -> None:
        self.ray = ray = _ray()
        self.pack, self.tries = pack, dict[Task, int]()
        self.started = not ray.is_initialized()
        if self.started:
            address = os.environ.get("RAY_ADDRESS") or "local"
            more = {"include_dashboard": False} if address == "local" else {}
            try:
                ray.init(address=address, log_to_driver=False, configure_logging=False, **more)
            except (ConnectionError, RuntimeError, ValueError) as error:
                hint = "Start one with `ray start --head`, or unset RAY_ADDRESS."
                raise DlxError(f"there is no Ray cluster at {address}: {error}", hint=hint) from error
        there = ray.cluster_resources()
        cores, gpus = max(1, int(there.get("CPU", 1))), there.get("GPU", 0)
        self.jobs = jobs if jobs > 1 else cores
        self.threads = max(1, cores // self.jobs)
        needs = {"num_cpus": self.threads, "num_gpus": min(1, gpus / self.jobs)}
        self.remote = ray.remote(**needs, max_retries=0)(work)

    def advance(self, tasks: Sequence[Task], halting: Halting) -> Iterator[TrialOutcome]:
        size = max(1, min(self.pack, -(-len(tasks) // self.jobs)))
        waiting = deque([list(tasks[i : i + size]) for i in range(0, len(tasks), size)])
        flying: dict[Any, list[Task]] = {}
        while waiting or flying:
            if halting():
                yield from (_cut_off(task) for batch in (*waiting, *flying.values()) for task in batch)
                self.leave(list(flying))
                return
            while waiting and len(flying) < self.jobs:
                batch = waiting.popleft()
                flying[self.remote.remote([task.as_json() for task in batch], self.pack, self.threads)] = batch
            done, _ = self.ray.wait(list(flying), timeout=LOOK)
            for ref in done:
                yield from self.landed(ref, flying.pop(ref), waiting)

    def landed(self, ref: Any, batch: list[Task], waiting: deque[list[Task]]) -> Iterator[TrialOutcome]:
        """What came of a batch. Where its node or worker died, another takes it up, a few times."""
        try:
            told = self.ray.get(ref)
        except (self.ray.exceptions.RayTaskError, RunError) as error:
            raise RunError(f"a worker on the cluster failed: {error}") from error
        except self.ray.exceptions.RayError as error:
            for task in reversed(batch):
                self.tries[task] = self.tries.get(task, 0) + 1
                if self.tries[task] > TRIES:
                    why = str(error).strip().partition("\n")[0]
                    message = f"its worker died {plural(self.tries[task], 'time')}: {why}"
                    yield TrialOutcome(task.number, task.seed, "failed", 0, message=message)
                else:
                    waiting.appendleft([task])
            return
        if isinstance(told, dict):
            raise RunError(told["error"], hint=told["hint"])
        yield from (TrialOutcome(**one) for one in told)

    def leave(self, flying: Sequence[Any]) -> None:
        """End what is on its way; it goes on from its checkpoints another time."""
        for ref in flying:
            self.ray.cancel(ref, force=True)

    def close(self) -> None:
        if self.started:
            self.ray.shutdown()


def _ray() -> Any:
    """The guest, where it is installed."""
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise DlxError(MISSING, hint=HOW) from error


def work(tasks: Sequence[dict[str, Any]], pack: int, threads: int) -> list[dict[str, Any]] | dict[str, str]:
    """One batch, in a process of Ray's: its outcomes, or why none can go on."""
    os.environ["DLX_THREADS"] = str(threads)
    trainer = _TRAINERS.setdefault(pack, Trainer(pack))
    try:
        return [outcome.as_json() for outcome in trainer.advance([Task(**task) for task in tasks], lambda: False)]
    except DlxError as error:
        return {"error": error.problems[0].message, "hint": error.problems[0].hint}
    finally:
        trainer.forget()


def _cut_off(task: Task) -> TrialOutcome:
    return TrialOutcome(task.number, task.seed, "cut off", 0)


__all__ = ["OnRay", "work"]
