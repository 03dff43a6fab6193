"""Pictures of a run or a study, in its folder: curves, learning rate, confusion matrices, networks, samples.

The process that mirrors a run calls `write` once all else has arrived, so that nobody waits for it: MLflow then has
the pictures too, and `dlx runs sync` draws those that a kill has left out.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from ..errors import DlxError, first_line
from ..experiment import confusion_matrix
from ..runs import origin
from ..runs.folder import ARTIFACTS, SEEDS_ARTIFACTS, RunFolder
from ..runs.records import RECORDS
from ..sweeps import figures
from ..sweeps.study import JOURNAL, Study, is_study
from ..track import arrivals
from ..trained.difference import RunGroup
from .charts_files import content_of
from .plot import Drawing, confusion, curve, panel_of
from .plot_gradients import is_size
from .plot_options import Options

if TYPE_CHECKING:
    from ..training.fit import Job

FOLDER = f"{ARTIFACTS}/figures"
SEEDS_FOLDER = f"{SEEDS_ARTIFACTS}/figures"
SAMPLES = f"{ARTIFACTS}/samples"
MOST_PANELS = 12
"""Quantities in a picture of curves at most; those of held-out parts come before others."""
SECONDS = 60.0
"""Time that samples may take; slower ones are for `dlx sample`."""
LATER = 0.2
"""Seconds after which it is raised again, should somebody have passed over it."""
Pictures = Mapping[str, Callable[[], bytes | None]]
"""By the name of a file, what makes its content; None where the run has none."""


def write(folder: Path) -> list[str]:
    """Draw what a run or a study has recorded, unless its pictures are as new; return what kept some from it."""
    try:
        return _of_study(folder) if is_study(folder) else _of_run(RunFolder(folder))
    except DlxError as error:  # it is damaged
        return [f"{folder} has no pictures: {_reason(error)}"]


def write_all(folders: Iterable[Path]) -> list[str]:
    """Draw several, those whose spec declines MLflow left out: they are looked at by `dlx report`."""
    return [problem for folder in folders if arrivals.is_shown(RunFolder(folder)) for problem in write(folder)]


def _is_due(pictures: Path, records: Iterable[Path]) -> bool:
    """Whether one of the records is newer than the pictures in a folder, or there are none."""
    there = [path.stat().st_mtime for path in pictures.glob("*.*")]
    known = [path.stat().st_mtime for path in records if path.exists()]
    return bool(known) and max(there, default=0.0) < max(known)


def _written(run: RunFolder, pictures: Pictures, folder: str = FOLDER) -> list[str]:
    """Write pictures into a folder of a run; return a sentence for each that could not be drawn."""
    problems = []
    for name, make in pictures.items():
        try:
            content = make()
            if content is not None:
                run.write_bytes(f"{folder}/{name}", content)
        except Exception as error:  # noqa: BLE001  one picture that fails is no reason to lose the others
            problems.append(f"{name} of {run.key} was not drawn: {_reason(error)}")
    return problems


def _reason(error: Exception) -> str:
    return (
        error.problems[0].message if isinstance(error, DlxError) else f"{type(error).__name__}: {first_line(error)}"
    )


# --- a run ----------------------------------------------------------------------------------------------------------


def _of_run(run: RunFolder) -> list[str]:
    if run.status() == "running":
        return []
    own = _is_due(run.dir / FOLDER, [run.dir / RECORDS])
    return [*([*_written(run, _pictures(run)), *_samples(run)] if own else []), *_of_seeds(run)]


def _of_seeds(run: RunFolder) -> list[str]:
    """Draw the finished seeds of one command together, into a folder of the first, where none goes on."""
    group = origin.group_of(run)
    if group is None or group.kind != "seeds" or len(group.runs) < group.count:
        return []
    seeds = [RunFolder(run.root / key) for key in group.runs]
    states = [one.status() for one in seeds if one.dir.is_dir()]
    finished = tuple(one for one in seeds if one.dir.is_dir() and one.status() == "finished")
    home = seeds[0]
    if "running" in states or len(finished) < 2 or not home.dir.is_dir():
        return []
    if not _is_due(home.dir / SEEDS_FOLDER, [one.dir / RECORDS for one in finished]):
        return []
    drawing = Drawing((RunGroup(run.name, finished),), Options())
    pictures: Pictures = {
        "curves.svg": lambda: _curves(drawing, rates=False),
        "learning_rate.svg": lambda: _curves(drawing, rates=True),
        "confusion.svg": lambda: _confusion(*finished),
        "network.svg": lambda: _networks(home),
    }
    return _written(home, pictures, SEEDS_FOLDER)


def _pictures(run: RunFolder) -> Pictures:
    if run.baseline():
        return {"confusion.svg": lambda: _confusion(run)}
    drawing = Drawing((RunGroup(run.name, (run,)),), Options())
    return {
        "curves.svg": lambda: _curves(drawing, rates=False),
        "learning_rate.svg": lambda: _curves(drawing, rates=True),
        "confusion.svg": lambda: _confusion(run),
        "network.svg": lambda: _networks(run),
    }


def _curves(drawing: Drawing, rates: bool) -> bytes | None:
    """Return the curves of all that runs have recorded, or of their learning rates."""
    names = {name for runs in drawing.curves.values() for one in runs for name in one if not is_size(name)}
    stages = {name: drawing.stages.get(name, "") for name in names}
    own = {name: name.removeprefix(f"{stage}/") for name, stage in stages.items()}
    chosen = sorted((name for name in names if own[name].startswith("lr") == rates), key=lambda one: _place(own[one]))
    panel = {name: panel_of(name, stages[name]) for name in chosen}
    panels = list(dict.fromkeys(panel.values()))[:MOST_PANELS]
    chosen = [name for name in chosen if panel[name] in panels]
    if not chosen:
        return None
    return content_of(curve(drawing.with_options(Options(tuple(chosen)))), "svg")


def _place(name: str) -> tuple[int, str, str]:
    """Return where a metric stands: losses first, then what held-out parts have, then the rest."""
    panel = panel_of(name)
    return (0 if panel == "loss" else 1 if name.startswith(("valid/", "test/")) else 2), panel, name


def _confusion(*runs: RunFolder) -> bytes | None:
    """Return the confusion matrices of runs, added up."""
    if not all((run.dir / confusion_matrix.FILE).exists() for run in runs):
        return None
    return content_of(confusion(Drawing((RunGroup(runs[0].name, runs),), Options(kind="confusion"))), "svg")


def _networks(run: RunFolder) -> bytes | None:
    """Return the diagram of all networks of a run; those of an ensemble are with its members."""
    from ..training.checkpoints.checkpoint import graphs_of
    from .diagram import draw

    if run.members():
        return None
    return draw.file_of(graphs_of(run.dir), "svg", draw.Wanted()).content


# --- samples --------------------------------------------------------------------------------------------------------


def _samples(run: RunFolder) -> list[str]:
    """Write a sheet of samples with the final weights, unless the training has made some."""
    there = (run.dir / SAMPLES).glob("*")
    if any(there) or not (run.dir / "checkpoints" / "final.safetensors").exists():
        return []
    try:
        with _at_most(SECONDS):
            for ending, content in _made(run).items():
                run.write_bytes(f"{SAMPLES}/final{ending}", content)
    except _Late:
        return [f"samples of {run.key} would take more than {SECONDS:.0f} seconds: `dlx sample {run.argument}`"]
    except Exception as error:  # noqa: BLE001  as above
        return [f"samples of {run.key} were not drawn: {_reason(error)}"]
    return []


def _made(run: RunFolder) -> Mapping[str, bytes]:
    """Return the files that `train.samples` would have written at the end; none of what makes no samples."""
    from ..spec import load

    experiment = load(run.file("spec.yaml")).last_stage
    if experiment.objective is None or not experiment.objective.makes_samples:
        return {}
    from ..spec.sections.samples import Samples
    from ..trained.evaluate import job_of_run
    from ..training import device
    from ..training.generation.at_stages import StageSheets

    with device.threads(1):
        job: Job = job_of_run(run, "final").job
        return StageSheets(Samples(every=1)).files(job)


class _Late(BaseException):
    """The time is over: no OSError and no Exception, which what runs meanwhile may expect and pass over."""


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raise _Late where the block takes longer; only the main thread can."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def late(_: int, __: FrameType | None) -> None:
        raise _Late

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds, LATER)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


# --- a study --------------------------------------------------------------------------------------------------------


def _of_study(folder: Path) -> list[str]:
    """Draw the figures of a study, and the curves and networks of its best trial."""
    if not _is_due(folder / FOLDER, [folder / JOURNAL]):
        return []
    study, home = Study.open(folder), RunFolder(folder)
    problems = []
    try:
        figures.of_study(study)
    except Exception as error:  # noqa: BLE001  as above
        problems.append(f"figures of {home.key} were not drawn: {_reason(error)}")
    best = study.best()
    if best is None or study.replicate_keys:
        return problems
    runs = tuple(RunFolder(study.runs / key) for key in best.runs.values())
    drawing = Drawing((RunGroup(f"trial {best.number}", runs),), Options())
    pictures: Pictures = {
        "best_curves.svg": lambda: _curves(drawing, rates=False),
        "best_network.svg": lambda: _networks(runs[0]),
    }
    return [*problems, *_written(home, pictures)]
