"""`dlx.train` and `dlx.resume`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import graph
from ..experiment import runner as experiments
from ..experiment.results import Results
from ..runs.folder import RunFolder
from ..show.training import progress
from ..spec import Experiment
from ..spec.sections.expect import apply_with
from .arguments import AnyRun, Overrides, Spec, experiment_of, is_overridden, override_texts, run_folder
from .isolation import TURN, isolated
from .run import Run, SeedRuns
from .warn import warn, warn_of_password


def train(
    spec: Spec, overrides: Overrides = (), *, runs: str | os.PathLike[str] = "runs", quiet: bool = False
) -> Run:
    """Train a spec as `dlx train` does, to the same bits, into a new run folder below `runs`.

    `spec` may also be the folder of a run, to train its spec again on as many threads, or that of a study, for
    its best trial. Several seeds give their runs as one (`run.runs`), an ensemble that of the ensemble. Progress goes
    to stderr or the notebook, unless `quiet`. MLflow's mirror delivers by itself, also after this has returned.

    Raises SpecError or DlxError before anything starts and RunError where the training fails; its folder then stays.
    Ctrl-C is a KeyboardInterrupt once the folder is in order: `dlx.resume` goes on. Warns (DlxWarning) of oddities
    about the spec and of claims under `expect` that are not met.

    Example: run = dlx.train("specs/digits/lenet.yaml", ["train.epochs=2"])
    """
    like = None
    if isinstance(spec, str | os.PathLike) and os.path.isdir(spec):  # noqa: PTH112 - a text is no path of a folder
        from ..sweeps.study import spec_in

        spec = spec_in(Path(spec))
        like = RunFolder(spec.parent)
    with TURN:
        loaded = experiment_of(spec, overrides)
        warn_of_password(loaded)
        with _followed(quiet) as callback:
            results = experiments.run(loaded, Path(runs), callback, like)
    claimed = apply_with(override_texts(overrides)) and not is_overridden(spec)
    return _ended(loaded, results, claimed=claimed)


def resume(run: AnyRun, *, runs: str | os.PathLike[str] = "runs", quiet: bool = False) -> Run:
    """Go on with a run that was killed, stopped or failed, from its newest checkpoint, to the same bits.

    Raises DlxError where it has finished or still runs, or its data has changed; else as `dlx.train`.
    """
    with _followed(quiet) as callback:
        loaded, results = experiments.resume(run_folder(run, runs), callback)
    return _ended(loaded, results, claimed=True)


@contextmanager
def _followed(quiet: bool) -> Iterator[Callable[[Any], None]]:
    """Yield a callback that shows progress, while no other thread computes."""
    with isolated(), progress(quiet) as callback:
        yield callback


def _ended(loaded: Experiment, results: Results, *, claimed: bool) -> Run:
    """Return the run or runs of a training. KeyboardInterrupt where Ctrl-C stopped it."""
    run: Run
    if results.together is not None:
        run = Run(results.together.run.dir)
    else:
        run = Run(results.results[0].run.dir) if len(results.results) == 1 else SeedRuns(results)
    stopped = [result for result in results.results if result.status == "stopped" and not result.notes]
    if stopped:
        interrupt = KeyboardInterrupt(f"{stopped[0].run.key} was stopped at step {stopped[0].steps:,}")
        interrupt.add_note(f"dlx.resume({str((results.together or stopped[0]).run.dir)!r}) goes on.")
        raise interrupt
    warn([*results.graphs.warnings], 4)
    unmet = graph.unmet(loaded, results.graphs) + graph.unmet_by(loaded, results.metrics)
    warn(unmet if claimed else graph.of_other_spec(unmet), 4)
    return run
