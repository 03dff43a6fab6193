"""Workers on a Ray cluster: that of RAY_ADDRESS, or one that is started here. All nodes must see the run folders.

A trial on a node that dies continues from its checkpoint on another one.
"""

from __future__ import annotations

import importlib
import os
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from ...errors import DlxError, RunError, plural
from .base import ShouldStop, Task, Trainer, TrialOutcome
from .process_pool import TRIES

LOOK = 0.2
"""Seconds between two checks whether the sweep is to stop."""
MISSING = "Ray is not installed"
HOW = "`pip install 'dlx[ray]'` brings it; `--backend local --jobs N` takes processes of this machine."

_TRAINERS: dict[int, Trainer] = {}
"""The trainer of this process of Ray's, which may receive one batch after another."""


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
        resources = ray.cluster_resources()
        cores, gpus = max(1, int(resources.get("CPU", 1))), resources.get("GPU", 0)
        self.jobs = jobs if jobs > 1 else cores
        self.threads = max(1, cores // self.jobs)
        needs = {"num_cpus": self.threads, "num_gpus": min(1, gpus / self.jobs)}
        # Ray must not retry by itself: it would know neither the number of tries of a task nor that the sweep has
        # stopped
        self.remote = ray.remote(**needs, max_retries=0)(work)

    def advance(self, tasks: Sequence[Task], should_stop: ShouldStop) -> Iterator[TrialOutcome]:
        size = max(1, min(self.pack, -(-len(tasks) // self.jobs)))
        waiting = deque([list(tasks[i : i + size]) for i in range(0, len(tasks), size)])
        running: dict[Any, list[Task]] = {}
        while waiting or running:
            if should_stop():
                yield from (_cut_off(task) for batch in (*waiting, *running.values()) for task in batch)
                self.cancel(list(running))
                return
            while waiting and len(running) < self.jobs:
                batch = waiting.popleft()
                running[self.remote.remote([task.as_json() for task in batch], self.pack, self.threads)] = batch
            done, _ = self.ray.wait(list(running), timeout=LOOK)
            for ref in done:
                yield from self.collect(ref, running.pop(ref), waiting)

    def collect(self, ref: Any, batch: list[Task], waiting: deque[list[Task]]) -> Iterator[TrialOutcome]:
        """Yield the outcomes of a batch. Where its node or worker died, it is queued again, a few times."""
        try:
            outcomes = self.ray.get(ref)
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
        if isinstance(outcomes, dict):
            raise RunError(outcomes["error"], hint=outcomes["hint"])
        yield from (TrialOutcome(**one) for one in outcomes)

    def cancel(self, running: Sequence[Any]) -> None:
        """Cancel running batches; they continue from their checkpoints another time."""
        for ref in running:
            self.ray.cancel(ref, force=True)

    def close(self) -> None:
        if self.started:
            self.ray.shutdown()


def _ray() -> Any:
    """Import Ray. Raises DlxError where it is not installed."""
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise DlxError(MISSING, hint=HOW) from error


def work(tasks: Sequence[dict[str, Any]], pack: int, threads: int) -> list[dict[str, Any]] | dict[str, str]:
    """Train one batch, in a process of Ray's; return its outcomes, or the error that ends the sweep."""
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
