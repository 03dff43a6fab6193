"""Progress of a training, a view on a terminal and a line for each evaluation elsewhere, and its result."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..metrics import RUNNING_LOSS
from ..runs.folder import SYSTEM_METRICS
from . import live, notebook, several
from .confusion_matrix import matrix
from .console import TextTable, out, say
from .ensembles import members
from .live_state import apart_from_seed
from .mlflow_commands import from_here
from .several import MANY, metrics_text

if TYPE_CHECKING:
    from ..experiment.runner import Results, TrainingStarted, TrainingWarning
    from ..runs.folder import RunFolder
    from ..spec import Experiment
    from ..training.fit import Record


@contextmanager
def progress(quiet: bool = False, *, warnings: bool = False, count: int = 1) -> Iterator[Callable[[Any], None]]:
    """Yield a callback for `experiment.runner.run` that shows the progress of trainings on stderr.

    Where it is `quiet` it shows nothing, or `warnings` alone. `count` trainings are expected.
    """
    if quiet:
        yield _warnings if warnings else lambda _: None
    elif notebook.is_here():
        with notebook.training(_begun, _latest()) as callback:
            yield callback
    elif live.is_possible():
        with live.viewing(_describing(count), count) as callback:
            yield callback
    else:
        yield _lines(count)


def noting(callback: Callable[[Any], None], notes: set[str]) -> Callable[[Any], None]:
    """Return a callback that adds to `notes` those that trainings begin with."""

    def noted(event: Any) -> None:
        notes.update(getattr(event, "notes", ()))
        callback(event)

    return noted


def count_of(experiment: Experiment) -> int:
    """Return the trainings of a spec: seeds, or members of an ensemble."""
    train = experiment.last_stage.train
    if train is None:
        return 1
    return (train.ensemble.members if train.ensemble is not None else None) or train.seeds


def _warnings(event: Any) -> None:
    from ..experiment.runner import TrainingWarning

    if isinstance(event, TrainingWarning):
        say(event.message)


def _describing(count: int) -> Callable[[TrainingStarted], str]:
    """Return what describes the start of each of `count` trainings; of many the first speaks for all seeds."""
    first: list[int] = []

    def text(begun: TrainingStarted) -> str:
        first[:] = first or [begun.seed]
        for_all = count > MANY and begun.seed == first[0]
        return _begun(begun, f"seeds {first[0]} to {first[0] + count - 1}" if for_all else "")

    return text


def _begun(begun: TrainingStarted, seeds: str = "") -> str:
    threads = "" if begun.device.startswith("cuda") else f", {begun.threads} thread{'s' if begun.threads > 1 else ''}"
    how = "".join(f", {word}" for word in begun.computed)
    stage = f", stage {begun.stage}" if begun.stage else ""
    return (
        f"{begun.graphs.name}{stage}: {begun.graphs.trainable:,} parameters, {begun.steps:,} steps "
        f"on {begun.device}{threads}{how}, {seeds or f'seed {begun.seed}'}"
        + (f", from step {begun.step:,} on" if begun.step else "")
        + "".join(f"\n{note}" for note in begun.notes)
    )


def _lines(count: int) -> Callable[[Any], None]:
    from ..experiment.recorder import RecordOfRun
    from ..experiment.runner import TrainingStarted, TrainingWarning

    seeds, together = dict[Path, int](), several.SideBySide()
    describe, described = _describing(count), list[Mapping[str, object]]()

    def callback(event: TrainingStarted | Record | TrainingWarning) -> None:
        if isinstance(event, TrainingWarning):
            say(event.message)
        elif isinstance(event, TrainingStarted):
            seeds[event.run.dir] = event.seed
            together.begin(event.run, event.seed)
            if count <= MANY or apart_from_seed(event) not in described:
                described.append(apart_from_seed(event))
                say(describe(event))
        elif count > MANY and isinstance(event, RecordOfRun):
            if text := together.line(event):
                say(text)
        elif event.record == "evaluation" and event.metrics:
            # those of seeds that are trained together come in turn
            whose = f"seed {seeds[event.run.dir]}  " if len(seeds) > 1 and isinstance(event, RecordOfRun) else ""
            say(f"{whose}step {event.step:,}  epoch {event.epoch}  {metrics_text(event.metrics)}")

    return callback


def _latest() -> Callable[[Record], str]:
    """Return a function from a record of a training to the latest figures in words."""
    latest: dict[str, float] = {}

    def text(record: Record) -> str:
        latest.update({k.removeprefix("train/"): v for k, v in record.metrics.items() if k in _SHOWN})
        return metrics_text(latest)

    return text


_SHOWN = (RUNNING_LOSS, "valid/loss", "valid/accuracy", "valid/mae")


def results(found: Results) -> None:
    """Print the metrics, notes and folders of trainings, and the command that continues one."""
    if found.together is not None and found.together.status == "finished":
        members(found)
        return
    last = found.results[-1]
    grid = TextTable(columns=2, styles=["bold"])
    intervals = found.intervals
    for name, value in found.metrics.items():
        spread = f" ± {intervals[name]:.2g} (95 %, {len(found.results)} seeds)" if name in intervals else ""
        grid.add(name, f"{value:.4g}{spread}")
    grid.print()
    matrix(last.run)
    seconds = sum(r.seconds for r in found.results)
    word = {"finished": "trained", "stopped": "stopped after"}.get(last.status, last.status)
    out(f"{word} {last.steps:,} steps in {seconds:.1f} s")
    for line in several.lines(found.results, "run"):
        out(line)
    if last.status == "stopped":
        out(f"go on   dlx train --resume {last.run.dir}")
    if not any(name.startswith(("valid/", "test/")) for name in found.metrics) and last.status == "finished":
        say("The data has no `valid` and no `test` part, so nothing was evaluated: `valid: 0.1` holds some out.")


def result_lines(found: Results) -> None:
    """Print a line for each run: its folder and the metrics of the last part that was measured; last their means."""
    for result in [found.together] if found.together is not None else found.results:
        out(f"{result.run.dir}  {metrics_text(_of_last_part(result.metrics))}".rstrip())
    if found.together is None and len(found.results) > 1:
        means, halves = _of_last_part(found.metrics), found.intervals
        spread = [f"{k} {v:.4g}{f' ± {halves[k]:.2g}' if k in halves else ''}" for k, v in means.items()]
        out(f"{len(found.results)} seeds  {'  '.join(spread)}")


def _of_last_part(metrics: Mapping[str, float]) -> dict[str, float]:
    parts = (f"{part}/" for part in ("test", "valid", "train"))
    each = ({k: v for k, v in metrics.items() if k.startswith(part)} for part in parts)
    return next(filter(None, each), dict(metrics))


def undelivered(found: Results) -> None:
    """Print a warning for each run that MLflow has not, and does not get by itself."""
    for result in [found.together] if found.together is not None else found.results:
        if result.tracking not in {"", "delivered", "behind"}:
            say(f"mlflow: {tracked(result.tracking, result.tracking_uri, result.run.argument)}")


def tracking(found: Results) -> None:
    """Print where MLflow shows the run."""
    last = found.together or found.results[-1]
    runs = [last.run] if found.together else [result.run for result in found.results]
    mirrored(last.tracking, last.tracking_uri, every(runs))
    if last.mirror is not None:
        _scalar_files(found.results[-1].run)
        if not last.mirror.mlflow and (path := found.results[-1].run.dir / SYSTEM_METRICS).exists():
            out(f"system  {path}")


def mirrored(state: str, uri: str, argument: str) -> None:
    """Print how the mirror of runs or of a study stands at the end; without `uri` it writes files alone.

    `argument` as of `every`.
    """
    if state and uri:
        out(f"mlflow  {tracked(state, uri, argument)}")
    elif state == "behind":
        out(f"files   written in the background; `{f'dlx runs sync --wait {argument}'.rstrip()}` waits for it")
    elif state:
        out(f"files   {state}; later: `{f'dlx runs sync {argument}'.rstrip()}`")


def _scalar_files(run: RunFolder) -> None:
    """Print the files of a run's metrics, and how to open them."""
    from ..track import scalar_files

    for path in scalar_files(run):
        is_table = path.suffix == ".csv"
        out(f"csv     {path}" if is_table else f"events  open them with `tensorboard --logdir {run.dir.parent}`")


def every(runs: Sequence[RunFolder]) -> str:
    """Return the argument by which `dlx runs sync` delivers these runs: one by its name, several with all others."""
    if len(runs) == 1:
        return runs[0].argument
    home = from_here(runs[0].root)
    return "" if home == "runs" else f"--runs {shlex.quote(home)}"


def tracked(state: str, uri: str, argument: str) -> str:
    """Describe the state of the MLflow mirror of a run or a study, and how to open it; `argument` as of `every`."""
    how = uri if uri.startswith("http") else f"`{_ui(uri)}`"
    if state == "delivered":
        return f"open it {'at' if how.startswith('http') else 'with'} {how}"
    if state == "behind":
        wait = f"dlx runs sync --wait {argument}".rstrip()
        return f"being delivered in the background; `{wait}` waits for it, then {how}"
    sync = f"dlx runs sync {argument}".rstrip()
    return f"{state}; later: `{sync}`"


def _ui(uri: str) -> str:
    """Return the command that opens a store, with a path relative to the working directory."""
    path = Path(uri.removeprefix("sqlite:///"))
    if path.name != "mlflow.db":
        return f"dlx ui --uri {shlex.quote(uri)}"
    folder = from_here(path.parent)
    return "dlx ui" if folder == "runs" else f"dlx ui {shlex.quote(folder)}"
