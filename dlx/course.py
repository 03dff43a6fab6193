"""One training on its way: records to its folder, checkpoints now and then, an end in any case."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import DlxError, Problem, RunError
from .graph import Graph
from .runs import Run
from .train import checkpoint, state

if TYPE_CHECKING:
    from .train.fit import Job, Record

SAVE_EVERY = 5.0
"""Seconds between two checkpoints on the way; the first comes with the first point of the loss curve."""


@dataclass(frozen=True)
class Begun:
    """What a listener is told when training starts, or goes on from `step`."""

    run: Run
    graph: Graph
    device: str
    threads: int
    steps: int
    seed: int
    step: int = 0
    notes: tuple[str, ...] = ()


Listener = Callable[["Begun | Record"], None]


class Course:
    """One training on its way: records to folder and listener, checkpoints now and then, an end in any case."""

    def __init__(self, folder: Run) -> None:
        self.folder = folder
        self.job: Job | None = None
        self.metrics: dict[str, float] = {}
        self.status, self.message = "failed", ""
        self.started = time.perf_counter()
        self.seconds = 0.0
        self.saved_at, self.saved_step = -SAVE_EVERY, 0
        self.told = {(record["record"], record.get("step", 0)) for record in folder.records()}
        """Records that stand already: a run that goes on comes by them again, with the same figures."""

    @property
    def step(self) -> int:
        return self.job.step if self.job is not None else 0

    def take_up(self, job: Job) -> tuple[str, ...]:
        """Bring a fresh job to where the run was; what is worth a sentence."""
        facts, passed_over = state.restore(job, self.checkpoints)
        if facts is not None:
            self.metrics, self.saved_step = facts["metrics"], job.step
        return tuple(passed_over)

    def follow(self, job: Job, listen: Listener) -> None:
        """Run `fit` to its end."""
        from .train.fit import fit

        self.job, self.started = job, time.perf_counter()
        for record in fit(job):
            if record.record == "end":
                self.metrics = record.metrics
                self.save("final")
            elif record.record == "rest":
                self.rest(job)
                continue
            else:
                if (record.record, record.step) not in self.told:
                    self.folder.append(_as_json(record))
                self.metrics = {**self.metrics, **{k: v for k, v in record.metrics.items() if k != "lr"}}
            listen(record)
        self.status = "finished"

    @property
    def checkpoints(self) -> Path:
        return self.folder.dir / "checkpoints"

    def rest(self, job: Job) -> None:
        """Save all that the job moves, as often as the spec says or else every few seconds."""
        if job.train.save_every or time.monotonic() - self.saved_at > SAVE_EVERY:
            state.save(self.checkpoints, job, self.facts(job))
            self.saved_at, self.saved_step = time.monotonic(), job.step

    def facts(self, job: Job) -> dict[str, Any]:
        return {"step": job.step, "epoch": job.epoch, "metrics": self.metrics}

    def save(self, name: str) -> None:
        """The weights alone."""
        assert self.job is not None
        checkpoint.save(self.checkpoints, name, self.job.network, self.facts(self.job))
        self.saved_step = self.job.step

    @contextmanager
    def to_its_end(self) -> Iterator[None]:
        """Whatever happens inside, the folder gets its end record. Ctrl-C is an end like another."""
        try:
            yield
        except KeyboardInterrupt:
            self.status = "stopped"
            if self.job is not None:
                with suppress(DlxError):
                    self.save("stopped")
        except DlxError as error:
            self.message = error.problems[0].message
            raise type(error)(*self.with_last_checkpoint(error)) from error
        except BaseException as error:
            self.message = f"{type(error).__name__}: {error}"
            raise
        finally:
            self.end()

    def end(self) -> None:
        self.seconds = time.perf_counter() - self.started if self.job is not None else 0.0
        record = {"record": "end", "time": time.time(), "step": self.step, "seconds": round(self.seconds, 3)}
        self.folder.append({**record, "status": self.status, "message": self.message, "metrics": self.metrics})

    def with_last_checkpoint(self, error: DlxError) -> list[Problem]:
        """The error, and where the last good weights are."""
        first, *rest = error.problems
        if not isinstance(error, RunError):
            return [first, *rest]
        kept = (
            f"The weights of step {self.saved_step:,} are kept in {self.checkpoints}."
            if self.saved_step
            else "It failed before the first checkpoint."
        )
        return [Problem(first.message, f"{first.hint} {kept}".strip(), first.mark, first.path), *rest]


def _as_json(record: Record) -> dict[str, Any]:
    return {
        "record": record.record,
        "time": time.time(),
        "step": record.step,
        "epoch": record.epoch,
        "metrics": record.metrics,
    }
