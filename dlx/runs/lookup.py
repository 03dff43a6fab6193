"""Find runs below a folder: all of them, or the one that a text names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DlxError, Problem, SpecError, did_you_mean, plural
from .folder import ID, RunFolder
from .records import RECORDS

if TYPE_CHECKING:
    from ..spec import Experiment
    from ..spec.syntax.read import Node


def all_runs(root: Path | str) -> list[RunFolder]:
    """List the runs below a folder, the newest first."""
    return _newest_first(Path(root).glob("*/*"))


def _newest_first(folders: Iterable[Path]) -> list[RunFolder]:
    runs = [folder for folder in folders if ID.fullmatch(folder.name) and folder.is_dir()]
    return [RunFolder(folder) for folder in sorted(runs, key=lambda folder: (folder.name, folder), reverse=True)]


def find(text: str, root: Path | str) -> RunFolder:
    """Find the run that a text names: a folder, `last`, `name/id`, an id, a name, or a beginning of one of these.

    A name stands for the newest of its runs. Raises DlxError where no run has that name, or it begins several.
    """
    for folder in _folders(text, Path(root)):
        if any(os.path.lexists(folder / name) for name in (RECORDS, "lock.json")):
            return RunFolder(folder)
    own = of_name(text, root)
    if own and text != LAST and not ID.fullmatch(own[0].name):  # no list of all runs is needed to find this one
        return newest([run for run in own if not run.baseline()] or own)
    runs = all_runs(root)
    if not runs:
        raise DlxError(f"there is no run `{text}`: {root} holds none", hint="`dlx train SPEC` makes one.")
    if text == LAST:
        return newest(runs)
    exact = [run for run in runs if text in (run.key, run.id)]
    begun = [run for run in runs if text and (run.key.startswith(text) or run.id.startswith(text))]
    matches = exact or own or begun  # `gan`, where there is `gan-1d` too
    if len(matches) == 1:
        return matches[0]
    if not exact and len({run.name for run in matches if run.name.startswith(text.rstrip("/"))}) == 1:
        return newest([run for run in matches if not run.baseline()] or matches)
    if matches:
        names = ", ".join(run.key for run in matches[:3]) + (", ..." if len(matches) > 3 else "")
        raise DlxError(f"`{text}` may be any of {plural(len(matches), 'run')}: {names}", hint="Write more of it.")
    known = {name for run in runs for name in (run.key, run.id, run.name)}
    hint = did_you_mean(text, known) if len(known) <= 12 else did_you_mean(text, known).partition("There are")[0]
    raise DlxError(f"there is no run `{text}` in {root}", hint=hint or "`dlx runs` lists them.")


LAST = "last"
"""Name of the newest run of all."""


def of_name(text: str, root: Path | str) -> list[RunFolder]:
    """Return the runs of that name, the newest first; empty where the text is no name of runs."""
    name, home = text.rstrip("/"), Path(root) / text
    if not name or "/" in name or name == "..":
        return []
    if not os.path.isdir(home):  # noqa: PTH112 - none is there either where the text is too long for a name
        return []
    return [run for run in _newest_first(home.glob("*")) if run.name == name]


def newest(runs: Sequence[RunFolder]) -> RunFolder:
    """Return the newest of runs that are in the order of `all_runs`; of an ensemble the whole."""
    # members of an ensemble are created after its own folder: the newest folder may be one of theirs
    alike = (run for run in runs[1:] if run.name == runs[0].name)
    return next((run for run in alike if runs[0].key in _members_of(run)), runs[0])


def with_source(experiment: Experiment, root: Path | str) -> Experiment:
    """Return the experiment with the folders of the runs that `weights.from` and `networks.NAME.from` name.

    SpecError where there is none, with the other mistakes of the spec.
    """
    changed = experiment.written.copy()
    stages = changed.at("stages")
    places = (changed, *(stages.list if stages is not None else ()))
    known = {one.name for one in experiment.stages}
    named = [
        (path, node)
        for place in places
        for path, node in _sources(place)
        if _is_name(node.value) and not (path != "weights.from" and node.value in known)
    ]
    missing = []
    for path, node in named:
        try:
            node.value = str(find(str(node.value), root).dir.absolute())
        except DlxError as error:
            message = f"`{path}` names no file or folder `{node.value}`, and {error.problems[0].message}"
            missing.append(Problem(message, error.problems[0].hint, node.mark, path))
    if missing:
        raise SpecError(*_with_other_mistakes(experiment, missing))
    return experiment.with_root(changed).with_overrides(experiment.overrides) if named else experiment


def _with_other_mistakes(experiment: Experiment, missing: Sequence[Problem]) -> list[Problem]:
    """Return the problems of missing runs with those of a spec at other places, in the order of the file."""
    from ..graph import trace_all
    from ..graph.trace import in_file_order

    others: Sequence[Problem] = ()
    try:
        trace_all(experiment)
    except SpecError as error:
        others = error.problems
    places = {str(one.mark) for one in missing}
    return sorted([*missing, *(one for one in others if str(one.mark) not in places)], key=in_file_order)


def _sources(place: Node) -> Iterator[tuple[str, Node]]:
    """Yield each key of a spec, or of a stage, that may name a run, with its node."""
    networks = place.at("networks")
    names = networks.map if networks is not None else {}
    for path in (("weights", "from"), *(("networks", name, "from") for name in names)):
        if (node := place.at(*path)) is not None:
            yield ".".join(path), node


def _is_name(source: object) -> bool:
    """Whether a source is no path of a file or folder that there is, and no expression."""
    return isinstance(source, str) and bool(source) and "${" not in source and not Path(source).is_absolute()


def _folders(text: str, root: Path) -> Iterator[Path]:
    """Yield folders that a path, or the key of a trial's run, may mean."""
    with suppress(RuntimeError):  # `~name` for a user that does not exist
        yield Path(text).expanduser()
    yield root / text


def _members_of(run: RunFolder) -> list[str]:
    try:
        return run.members()
    except DlxError:
        return []
