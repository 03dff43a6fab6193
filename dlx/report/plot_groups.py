"""The groups of runs that a picture shows, each with the name that tells it from the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import DlxError
from ..runs import lookup
from ..runs.folder import RunFolder
from ..sweeps.study import Study, is_study
from ..trained import difference
from ..trained.difference import Finished, RunGroup, siblings
from ..trained.run_settings import differing, settings

MOST_KEYS = 3
"""Keys of a spec in a label at most; where more differ, the name and the id of a run tell it from others."""
LONGEST = 60
"""Characters of a label."""


def groups(names: Sequence[str], root: Path, each: bool = False, trials: bool = False) -> list[RunGroup]:
    """Return the groups of runs that the names stand for, labelled by what differs.

    A run stands for itself and all finished runs that differ from it in seed and fold alone, a name for the newest
    of it and its baselines, a study for its folds or its best trial. With `each` a group is one run: those that are
    named, the members of an ensemble, and the runs of a study's best trial. With `trials` a study stands for all of
    its finished runs.

    DlxError where a name is that of no run.
    """
    found, finished = list[RunGroup](), Finished()
    for name in names:
        folder = study_of(name, root) if trials else None
        if folder is not None:
            found.append(RunGroup(folder.name, _runs_of(folder)))
        else:
            found += _singles(name, root) if each else _groups_of(name, root, finished)
    unique = list({tuple(run.dir.absolute() for run in group.runs): group for group in found}.values())
    return [replace(group, label=label) for group, label in zip(unique, labels(unique), strict=True)]


def _runs_of(folder: Path) -> tuple[RunFolder, ...]:
    """Return the finished runs of all trials of a study. DlxError where there is none."""
    study = Study.open(folder)
    runs = [RunFolder(study.runs / key) for trial in study.trials for key in trial.runs.values()]
    finished = tuple(run for run in runs if difference.has_finished(run))
    if not finished:
        raise DlxError(f"no trial of {folder} has finished", hint="The same command goes on with it.")
    return finished


def _groups_of(name: str, root: Path, finished: Finished) -> list[RunGroup]:
    if study_of(name, root) is not None:
        return difference.groups_of(name, root)
    run = lookup.find(name, root)
    beside = difference.baselines_of([one for one in lookup.of_name(name, root) if difference.has_finished(one)])
    if members := run.members():
        return [RunGroup(run.name, tuple(RunFolder(run.root / key) for key in members)), *beside]
    return beside if beside and run.baseline() else [RunGroup(run.name, _alike(run, finished)), *beside]


def _alike(run: RunFolder, finished: Finished) -> tuple[RunFolder, ...]:
    """Return a run with those of its spec that have finished; of one that runs, also those that run beside it."""
    found = siblings(run, finished)
    if run.status() != "running":
        return found
    own, known = difference.likeness_of(run), {difference.draw_of(one) for one in found}
    beside = [one for one in lookup.of_name(run.name, run.root) if one.dir != run.dir and one.status() == "running"]
    alike = [one for one in beside if difference.likeness_of(one) == own]
    return (*found, *(one for one in alike if difference.draw_of(one) not in known))


def study_of(name: str, root: Path) -> Path | None:
    """Return the folder of a study; None where the name is of runs."""
    return next((folder for folder in (Path(name), root / name) if is_study(folder)), None)


def _singles(name: str, root: Path) -> list[RunGroup]:
    if lookup.of_name(name, root) or any(is_study(folder) for folder in (Path(name), root / name)):
        runs = [one for group in _groups_of(name, root, Finished()) for one in group.runs]
    else:
        run = lookup.find(name, root)
        runs = [RunFolder(run.root / key) for key in run.members()] or [run]
    return [RunGroup(one.name, (one,)) for one in runs]


def labels(groups: Sequence[RunGroup]) -> list[str]:
    """Return a label for each group: the name of its runs where it is unique, else with the values that differ."""
    named = [group.runs[0].baseline() or group.label for group in groups]
    names = [f"{g.runs[0].name}: {n}" if g.runs[0].baseline() else n for g, n in zip(groups, named, strict=True)]
    if len(set(names)) == len(names):
        return _shortened(names)
    apart = {name: _apart([g for n, g in zip(names, groups, strict=True) if n == name]) for name in set(names)}
    found = [f"{name}{apart[name][group.runs[0].dir]}" for name, group in zip(names, groups, strict=True)]
    count = Counter(found)
    found = [
        f"{name} {group.runs[0].id}" if count[label] > 1 else label
        for name, group, label in zip(names, groups, found, strict=True)
    ]
    return _shortened(found)


def _apart(groups: Sequence[RunGroup]) -> dict[Path, str]:
    """Return what tells groups of one name apart: the values that differ, or the id where they are many."""
    each = differing([_settings(group) for group in groups])
    few = all(0 < len(values) <= MOST_KEYS for values in each)
    words = [", ".join(["", *(f"{key} {value}" for key, value in values.items())]) for values in each]
    ends = words if few else [f" {group.runs[0].id}" for group in groups]
    folders = [group.runs[0].dir for group in groups]
    return dict(zip(folders, ends, strict=True)) if len(groups) > 1 else {folders[0]: ""}


def _shortened(labels: Sequence[str]) -> list[str]:
    """Return labels of at most `LONGEST` characters; those that begin alike are numbered."""
    found = [_short(label) for label in labels]
    number = [found[:i].count(label) + 1 for i, label in enumerate(found)]
    count = Counter(found)
    return [
        f"{_short(label, LONGEST - 5)} ({n})" if count[label] > 1 else label
        for label, n in zip(found, number, strict=True)
    ]


def _short(text: str, longest: int = LONGEST) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _settings(group: RunGroup) -> dict[str, str]:
    run = group.runs[0]
    found = settings(run)
    return found if len(group.runs) > 1 else found | {"seed": str(run.lock().get("seed"))}
