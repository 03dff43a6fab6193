"""How long a training will take, by what the time is spent on: `dlx inspect --time`, and a line of `dlx train`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import DlxError, plural
from . import forms, live
from .console import TextTable, out, say
from .forms import Number

if TYPE_CHECKING:
    from ..experiment.forecast import PartForecast, TrainingTime
    from ..spec import Experiment
    from ..sweeps.plan import SweepPlan
    from ..sweeps.study_time import StudyTime
    from ..training.fit import Job
    from ..training.pace import TimeForecast

MANY_FOLDS = 20
"""Folds from which on `dlx crossval` says first how long they take."""
TELL_FROM = 60.0
"""Seconds of a training from which on `dlx train` says how long it will take."""
WORDS = {"steps": "step", "evaluations": "evaluation", "checkpoints": "checkpoint"}


class Asked(NamedTuple):
    """The time of a training, and those of the studies that its spec declares."""

    training: TrainingTime
    studies: Sequence[StudyTime]


def of(experiment: Experiment) -> Asked:
    """Return how long the training of a spec will take, and its studies; torch is imported for it."""
    from ..experiment import forecast
    from ..sweeps.study_time import studies_of

    found = forecast.forecast(experiment)
    return Asked(found, studies_of(experiment, found))


def document(asked: Asked | None) -> dict[str, Any]:
    """Return what `dlx inspect --time --json` has besides; empty where no time was asked for."""
    if asked is None:
        return {}
    return {"time": asked.training.as_json() | {one.command: one.as_json() for one in asked.studies}}


def table(asked: Asked | None) -> None:
    """Print a row for each thing that the time is spent on, and the whole; nothing where no time was asked for."""
    if asked is None:
        return
    found = asked.training
    grid = TextTable("time", ">seconds", styles=["cyan"])
    grid.add("start: imports, data, networks", _seconds(found.start))
    for name, part in found.parts.items():
        for what, seconds in part.by.items():
            grid.add((f"{name}: " if name else "") + _row(what, part), _seconds(seconds))
    grid.add("at most, in all" if found.at_most else "in all", _seconds(found.seconds))
    if found.mirrored and found.delivery is not None:
        grid.add("delivery to MLflow, after the command", _seconds(found.delivery))
    for study in asked.studies:
        grid.add(_study_row(study), _seconds(study.seconds))
    out()
    grid.print()
    if forms.FORM.get() == "table":
        for sentence in (*sentences(found), *map(study_sentence, asked.studies)):
            out(sentence)


def _study_row(one: StudyTime) -> str:
    seeds = f" of {plural(one.seeds, 'seed')}" if one.seeds > 1 else ""
    return f"`dlx {one.command}`{', at most' if one.at_most else ''}: {plural(one.count, one.unit)}{seeds} in turn"


def study_sentence(one: StudyTime) -> str:
    """Return how long a study takes, in words."""
    before = "at most " if one.at_most else "about "
    count = f"{plural(one.count, one.unit)}{f' of {one.seeds} seeds each' if one.seeds > 1 else ''}"
    whole = f"{before}{live.time_text(one.seconds)} in turn, each as long as this one"
    return f"`dlx {one.command}` trains {count}: {whole}; packed ones and `--jobs` make it less."


def of_folds(made: SweepPlan) -> str:
    """Return how long a cross-validation of many folds takes, by the first steps of one; empty for few of them.

    Folds that are trained side by side end together, and nothing else would be said until then.
    """
    if made.trials < MANY_FOLDS:
        return ""
    try:
        (found,) = (one for one in of(made.base).studies if one.command == "crossval")
    except DlxError:  # told by the folds themselves
        return ""
    before = "at most" if found.at_most else "about"
    count = f"{plural(found.count, 'fold')}{f' of {found.seeds} seeds each' if found.seeds > 1 else ''}"
    whole = f"{before} {live.time_text(found.seconds)} in turn, by the first steps of one"
    return f"{count} take {whole}; packed ones and `--jobs` make it less."


def sentences(found: TrainingTime) -> list[str]:
    """Return the whole in words, and what is not known."""
    before = "at most " if found.at_most else "about "
    said = [f"The training takes {before}{live.time_text(found.seconds)} on this machine, as it is loaded now."]
    if any(one.at_most for one in found.parts.values()):
        said.append("Early stopping or `max_time` may end it sooner.")
    if found.mirrored and found.delivery is None:
        said.append("How long MLflow then takes is not known: no run here has been delivered yet.")
    return said


def _row(what: str, part: PartForecast) -> str:
    if part.whole:
        return f"the whole training, of {plural(part.counts['steps'], 'step')}"
    side = f", of {part.trainings:,} trainings {'packed' if part.packed else 'in turn'}" if part.trainings > 1 else ""
    if what == "end":
        return f"end: all parts evaluated, weights written{side}"
    return f"{plural(part.counts[what], WORDS[what])}{side}"


def _seconds(value: float) -> Number:
    return Number(f"{value:.3g}" if value < 100 else f"{value:,.0f}", round(value, 3))


def said_once(*, quiet: bool) -> Callable[[Job, TimeForecast], None]:
    """Return a function that says how long the first training of a command will take, where that is long.

    A live view, which has the time that is left, says nothing more.
    """
    if quiet or live.is_possible():
        return lambda *_: None
    forecasts: list[TimeForecast] = []

    def tell(job: Job, found: TimeForecast) -> None:
        forecasts.append(found)
        seconds = found.seconds * job.pace.sharing
        if seconds >= TELL_FROM and len(forecasts) == 1:
            how = "at most" if found.at_most else "about"
            side = f", all {job.pace.sharing} side by side" if job.pace.sharing > 1 else ""
            steps = plural(found.at_step, "step")
            say(f"The training takes {how} {live.time_text(seconds)}{side}, by its first {steps}.")

    return tell
