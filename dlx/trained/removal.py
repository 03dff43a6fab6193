"""Runs and states that are removed from the disk, and those that stay because something needs them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ..errors import DlxError, Problem, did_you_mean, shortened
from ..runs import lookup
from ..runs.folder import ID, TAGS, RunFolder
from ..utils import files
from .difference import spec_of_run

SPAN = re.compile(r"(\d+)(d|h|w)")
HOURS = {"h": 1, "d": 24, "w": 24 * 7}
MOST_DIGITS = 6
"""Digits of a time; more are older than any run, and than what Python counts."""
LEFT = ".removed"
"""End of the name of a folder that is being removed: what a kill leaves of it is no run, and goes with the next."""
UNFINISHED = ("failed", "died")


@dataclass(frozen=True)
class Removal:
    """What is to be removed of one run: all of its folder, or some files of it."""

    run: RunFolder
    paths: tuple[Path, ...]
    what: str
    bytes: int
    """Disk that this frees."""
    delivered: bool
    """Whether MLflow has a copy."""

    @classmethod
    def of(cls, run: RunFolder, paths: Sequence[Path], what: str) -> Removal:
        return cls(run, tuple(paths), what, sum(map(size_of, paths)), (run.dir / "mlflow.json").exists())

    def remove(self) -> None:
        """Remove it. DlxError where the disk refuses."""
        try:
            for path in self.paths:
                _removed(path)
        except OSError as error:
            raise DlxError(f"{self.run.dir} cannot be removed: {files.reason(error)}") from error


def size_of(path: Path) -> int:
    """Return the bytes that a file or a folder takes on the disk; links count themselves alone."""
    if path.is_dir() and not path.is_symlink():
        return sum(size_of(Path(entry.path)) for entry in os.scandir(path))
    return path.lstat().st_blocks * 512


def _removed(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink()
        return
    gone = path.with_name(f".{path.name}{LEFT}")
    path.rename(gone)  # at once no run any more, whatever a kill leaves
    shutil.rmtree(gone)


def whole_runs(names: Sequence[str], root: Path) -> list[Removal]:
    """Return the removal of runs, with the members of an ensemble. DlxError with each that has to stay, and why."""
    found: dict[Path, RunFolder] = {}
    for name in names:
        run = lookup.find(name, root)
        if run.name == name.rstrip("/") and len(same := lookup.of_name(name, root)) > 1:
            hint = f"Write the ids, such as {run.key}; `dlx runs list {name} --each` lists them."
            raise DlxError(
                f"`{name}` is the name of {len(same)} runs, and what is removed is not there again", hint=hint
            )
        for one in (run, *(RunFolder(run.root / key) for key in run.members())):
            if one.dir.is_dir():
                found[one.dir.absolute()] = one
    users = users_of(root)
    problems = [problem for one in found.values() for problem in _needed(one, users, found)]
    if problems:
        raise DlxError(*problems)
    return [Removal.of(one, [one.dir], "run") for one in found.values()]


def unfinished(root: Path, older: timedelta | None = None) -> list[Removal]:
    """Return the removal of runs that have failed or died, but for those that others need."""
    users = users_of(root)
    chosen = {
        run.dir.absolute(): run
        for run in lookup.all_runs(root)
        if _state(run) in UNFINISHED and _is_older(run, older)
    }
    return [Removal.of(run, [run.dir], "run") for run in chosen.values() if not list(_needed(run, users, chosen))]


def states(root: Path, older: timedelta | None = None) -> list[Removal]:
    """Return the removal of training states of finished runs: weights stay, and no training can go on for longer."""
    found = []
    for run in lookup.all_runs(root):
        if _state(run) == "finished" and _is_older(run, older):
            paths = sorted((run.dir / "checkpoints").rglob("step-*.*"))
            found += [Removal.of(run, paths, "training states")] if paths else []
    return found


def leftovers(root: Path) -> list[Path]:
    """Return folders that a kill has left half removed."""
    return sorted(root.glob(f"*/.*{LEFT}"))


def remove(removals: Iterable[Removal], root: Path) -> int:
    """Remove all of it, and what an earlier kill left. Return the bytes that are free now."""
    freed = 0
    for one in removals:
        one.remove()
        freed += one.bytes
        if one.what == "run" and not any(one.run.dir.parent.iterdir()):
            one.run.dir.parent.rmdir()
    for folder in leftovers(root):
        freed += size_of(folder)
        shutil.rmtree(folder)
    return freed


def span_of(text: str) -> timedelta:
    """Return the time of `30d`, `12h` or `2w`. DlxError for another text."""
    found = SPAN.fullmatch(text)
    if found is None:
        raise DlxError(f"`--older-than {text}` is no time", hint="Write a number with h, d or w: `--older-than 30d`.")
    if len(found[1]) > MOST_DIGITS:
        raise DlxError(f"`--older-than {shortened(text, 20)}` is before any run", hint=f"Up to {MOST_DIGITS} digits.")
    return timedelta(hours=int(found[1]) * HOURS[found[2]])


def _is_older(run: RunFolder, span: timedelta | None) -> bool:
    if span is None:
        return True
    began = datetime.strptime(run.id[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    return datetime.now(UTC) - began > span


def _state(run: RunFolder) -> str:
    try:
        return run.status()
    except DlxError:
        return "unreadable"


def _needed(run: RunFolder, users: dict[Path, list[str]], leaving: Iterable[Path]) -> Iterator[Problem]:
    """Yield why a run has to stay: it runs, or one that stays takes weights of it or has it as a member."""
    going = {RunFolder(path).key for path in leaving}
    if _state(run) == "running":
        yield Problem(f"{run.key} is running", "Stop it first, by Ctrl-C.")
    staying = [key for key in users.get(run.dir.resolve(), []) if key not in going]
    if staying:
        who = ", ".join(staying[:3]) + (", ..." if len(staying) > 3 else "")
        yield Problem(f"{run.key} is needed by {who}", "Remove those first, or with it.")
    if run.id.startswith("trial-") or run.name.startswith("trial-"):
        yield Problem(
            f"{run.key} is of a trial of a study, which counts on it", "Remove the folder of the study by hand."
        )
    elif not ID.fullmatch(run.id):
        yield Problem(f"{run.dir} is no run folder: a run is called by its time, {run.root.name}/NAME/ID")


def users_of(root: Path) -> dict[Path, list[str]]:
    """Return for each run that others need the keys of these: by `weights`, `networks.NAME.from`, or as a member."""
    found: dict[Path, list[str]] = {}
    for run in lookup.all_runs(root):
        try:
            sources = [*_sources(spec_of_run(run)), *(str(run.root / key) for key in run.members())]
        except DlxError:
            continue
        for source in sources:
            path = Path(source)
            for place in (path, *list(path.parents)[:3]):  # the folder, or a checkpoint in it
                found.setdefault(place.resolve(), []).append(run.key)
    return found


def _sources(spec: dict[str, Any]) -> Iterator[str]:
    stages = spec.get("stages")
    for place in (spec, *(one for one in (stages if isinstance(stages, list) else ()) if isinstance(one, dict))):
        networks = place.get("networks")
        for section in (place.get("weights"), *(networks.values() if isinstance(networks, dict) else ())):
            source = section.get("from") if isinstance(section, dict) else section
            if isinstance(source, str) and Path(source).is_absolute():
                yield source


TAG_KEY = re.compile(r"[\w.\-/ ]*[\w/ ]")
LONGEST_TAG = 250


def tag(names: Sequence[str], changes: Sequence[str], root: Path) -> list[RunFolder]:
    """Write tags to runs: `KEY=VALUE`, or `KEY-`, which takes one away. DlxError where a change or a run is none."""
    problems = [Problem(f"`{text}` is no tag", TAG_WAY) for text in changes if not _is_change(text)]
    if problems or not changes:
        raise DlxError(*(problems or [Problem("there is no tag to write", TAG_WAY)]))
    runs = [lookup.find(name, root) for name in names]
    for run in runs:
        tags = run.tags()
        for text in changes:
            key, sign, value = text.partition("=")
            if sign:
                tags[key] = value
            elif key.removesuffix("-") not in tags:
                raise DlxError(f"{run.key} has no tag `{key.removesuffix('-')}`", hint=did_you_mean(key, tags))
            else:
                del tags[key.removesuffix("-")]
        run.write_json(TAGS, tags)
    return runs


TAG_WAY = "Write `KEY=VALUE`, or `KEY-` to take one away; a key has letters, digits, `_`, `-`, `.`, `/` and spaces."


def _is_change(text: str) -> bool:
    key, sign, _ = text.partition("=")
    key = key if sign else key.removesuffix("-")
    return bool(TAG_KEY.fullmatch(key)) and len(key) <= LONGEST_TAG and (bool(sign) or text.endswith("-"))
