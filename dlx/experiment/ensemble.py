"""Ensembles: the experiments of the members, the run folder of the whole, and the evaluation of all together."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import DlxError, NotWrittenError, plural
from ..runs import origin
from ..runs.folder import ENSEMBLE, RunFolder
from ..spec import Experiment
from ..training import ensemble_metrics
from ..training.checkpoints import checkpoint
from ..utils.intervals import mean_of

if TYPE_CHECKING:
    from ..training.prepared import Prepared


def members_of(experiment: Experiment) -> list[Experiment]:
    """Return the experiment of each member, with its own seed and, under `bootstrap`, its own sample of the data."""
    train = experiment.train
    assert train is not None
    assert train.ensemble is not None
    changes = ["~train.ensemble", *(["++train.bootstrap=true"] if train.ensemble.bootstrap else [])]
    return [experiment.with_seed(train.seed + i, changes) for i in range(train.ensemble.members or 0)]


class EnsembleRun:
    """Run of an ensemble: it records the runs of its members, and has an end record in any case."""

    def __init__(self, run: RunFolder, combine: str) -> None:
        self.run, self.combine = run, combine
        self.keys = run.members()
        self.metrics: dict[str, float] = {}
        self.status, self.message, self.steps = "failed", "", 0
        self.started = time.perf_counter()
        self.seconds = 0.0

    def noted(self, member: RunFolder) -> RunFolder:
        """Record a member, before it is trained: a resumed ensemble then finds it, however early it was killed."""
        origin.record_member(member, self.run)
        self.keys.append(member.key)
        self.run.write_json(ENSEMBLE, {"combine": self.combine, "members": self.keys})
        return member

    @contextmanager
    def ensure_end_record(self) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            self.status = "stopped"
            raise
        except DlxError as error:
            self.status, self.message = "failed", error.problems[0].message
            raise self._going_on(error) from error
        except BaseException as error:
            self.status, self.message = "failed", f"{type(error).__name__}: {error}"
            raise
        finally:
            self.seconds = time.perf_counter() - self.started
            record = {"record": "end", "time": time.time(), "step": self.steps, "seconds": round(self.seconds, 3)}
            record |= {"status": self.status, "message": self.message, "metrics": self.metrics}
            try:
                self.run.append(record)
            except NotWrittenError as error:
                if not self.message:  # else the first error is told
                    raise self._going_on(error) from error

    def _going_on(self, error: DlxError) -> DlxError:
        """Return an error with how the ensemble goes on, where a file of it could not be written."""
        if not isinstance(error, NotWrittenError):
            return error
        return error.going_on(f"`dlx train --resume {self.run.argument}` goes on.")


def evaluate_members(prepared: Prepared, runs: Sequence[RunFolder]) -> dict[str, float]:
    """Return the metrics of the trained members' combined outputs on the validation and test parts."""
    from ..network import build
    from ..training.batches.augmentation import augmented

    train, on, objective = prepared.train, prepared.device, prepared.supervised
    assert train.ensemble is not None
    shown = augmented(prepared.parts(), train, objective, prepared.sets.preprocess)
    parts = {name: part for name, part in shown.items() if name in ensemble_metrics.HELD_OUT}
    networks = [build(prepared.graph, prepared.experiment.init) for _ in runs]
    for network, run in zip(networks, runs, strict=True):
        checkpoint.load_weights(network, run.dir / "checkpoints")
    each = [(network.to(on).eval(), parts) for network in networks]
    return ensemble_metrics.measure(each, objective, train.ensemble.combine)


def mean(metrics: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the mean over the members of each metric that all have: a member that was stopped may have fewer."""
    shared = [name for name in metrics[0] if all(name in one for one in metrics)]
    return {name: mean_of([one[name] for one in metrics]) for name in shared}


def members_in(run: RunFolder) -> list[RunFolder]:
    """Return the runs of an ensemble's members, an empty list for another run. DlxError where a folder is missing."""
    keys = run.members()
    found = [RunFolder(run.root / key) for key in keys]
    if gone := [member.key for member in found if not member.dir.is_dir()]:
        hint = "Bring its folder back, or train the ensemble anew."
        raise DlxError(f"{run.key} has {plural(len(keys), 'member')}, and {gone[0]} is gone", hint=hint)
    return found
