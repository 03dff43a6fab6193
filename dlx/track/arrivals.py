"""What of the runs below a folder has arrived in which store, as the `mlflow.json` of each says. No mlflow here."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DlxError, shortened
from ..runs.folder import ARTIFACTS, ID, RunFolder
from ..runs.records import RECORDS
from ..utils import json_documents, passwords
from . import store
from .delivery import STATE_FILE

STATES: dict[str, tuple[type, str]] = {
    **dict.fromkeys(("run_id", "uri", "experiment", "experiment_id", "error", "status", "state"), (str, "a text")),
    **dict.fromkeys(("began", "offset", "delivered_by"), (int, "a whole number")),
    "model": (dict, "an object"),
}
"""Type of each value of a state that is read without MLflow, and its name."""


def state_of(folder: RunFolder) -> dict[str, Any]:
    """Read the state of a run or study; empty without one. DlxError where a value of it has the wrong type."""
    state = folder.read_json(STATE_FILE)
    for name, (kind, what) in STATES.items():
        if name in state and (not isinstance(state[name], kind) or isinstance(state[name], bool)):
            shown = shortened(json_documents.dumps(state[name]))
            message = f"{folder.dir / STATE_FILE} is damaged: `{name}` is {what}, and here is {shown}"
            raise DlxError(message, hint=json_documents.ALTERED)
    return state


def damage_of(folder: RunFolder) -> str:
    """Return what is wrong with the state of a run or study, and what follows; empty where it can be read."""
    try:
        state_of(folder)
    except DlxError as error:
        return f"{error.problems[0].message}; MLflow is asked what has arrived"
    return ""


@dataclass(frozen=True)
class Arrivals:
    """Stores that have runs of a folder, and the runs that none has as a whole."""

    root: Path
    newest: dict[str, RunFolder]
    """By the address of a store, passwords masked, the newest run or study that it has, the newest store first."""
    behind: tuple[RunFolder, ...]
    """Runs that have ended, and are not in MLflow as they are on disk."""
    models: dict[str, tuple[RunFolder, str]]
    """By the address of a store, the newest run that has a logged model there, and the id of the model."""

    @property
    def own(self) -> str:
        """The address of the store in the folder itself, whether there is one or not."""
        return f"{store.SQLITE}{(self.root.absolute() / 'mlflow.db').as_posix()}"

    def page(self, chosen: str, url: str) -> str:
        """Return the address of the runs of the newest experiment on a server of a store; without one, the server's.

        MLflow 3 begins in its pages on language models, and shows those of training where the address says so.
        """
        newest = self.newest.get(chosen)
        number = state_of(newest).get("experiment_id") if newest is not None else None
        return f"{url}/#/experiments/{number}/runs?workflowType=machine_learning" if number else url

    def others(self, chosen: str) -> list[str]:
        """Return the stores that have runs of the folder, beside the one that is looked at."""
        return [address for address in self.newest if address != chosen]

    def chosen(self, uri: str | None = None) -> str:
        """Return the store to look at: `uri`, else that of the folder, else the one of the newest run.

        DlxError where no run has arrived anywhere, or the file of the store is not there.
        """
        passwords.mask_and_remember(os.environ.get("MLFLOW_TRACKING_URI", ""))
        if uri is not None:
            asked = passwords.mask_and_remember(uri)
            path = store.sqlite_path(asked)
            found = f"{store.SQLITE}{path.absolute().as_posix()}" if path else asked
        else:
            found = self.own if Path(self.own.removeprefix(store.SQLITE)).is_file() else next(iter(self.newest), "")
        path = store.sqlite_path(found)
        if path is not None and not path.is_file():
            hint = "`dlx runs sync` delivers the runs that are there." if uri is None else "Look at the path."
            raise DlxError(f"there is no store of MLflow at {path}", hint=hint)
        if found:
            return found
        if self.behind:
            raise DlxError(f"no run in {self.root} has arrived in MLflow", hint="`dlx runs sync` delivers them.")
        hint = "`dlx train SPEC` makes one; with `track: {mlflow: false}` it is not delivered."
        raise DlxError(f"{self.root} has no run that is in MLflow", hint=hint)


def arrivals(root: Path) -> Arrivals:
    """Read what of the runs and studies below a folder has arrived. Damaged runs count as not arrived."""
    newest: dict[str, RunFolder] = {}
    behind: list[RunFolder] = []
    models: dict[str, tuple[RunFolder, str]] = {}
    folders = sorted(root.glob("*/*"), key=lambda folder: (folder.name, folder), reverse=True)
    for run in map(RunFolder, (folder for folder in folders if folder.is_dir())):
        with suppress(DlxError):
            state = state_of(run)
            if address := str(state.get("uri") or ""):
                newest.setdefault(address, run)
                if ids := str(state.get("model", {}).get("model_id", "")).split():
                    models.setdefault(address, (run, ids[0]))
        if is_behind(run):
            behind.append(run)
    return Arrivals(root, newest, tuple(behind), models)


class Stores:
    """What stores have, each asked once: a thousand runs that have arrived are passed over without MLflow."""

    def __init__(self) -> None:
        self.ids: dict[str, frozenset[str] | None] = {}

    def unchanged(self, folder: RunFolder) -> dict[str, Any] | None:
        """Return the state of a run or study that has arrived as a whole, and has not changed since; else None.

        A local store must still have it. A server is not asked: for that a run is named.
        """
        try:
            state = state_of(folder)
            known = {"run_id", "uri"} <= state.keys() and not _lacks_something(folder, state) and self._has(state)
        except (DlxError, OSError):
            return None
        whole = state.get("status", state.get("state")) not in {"", "RUNNING", None}
        began = state.get("began", 0)
        return state if known and whole and began and not _has_changed(folder.dir, began) else None

    def _has(self, state: dict[str, Any]) -> bool:
        uri = str(state.get("uri"))
        asked = passwords.masked(os.environ.get("MLFLOW_TRACKING_URI", ""))
        if asked and asked != uri:  # the run may be meant for another store by now
            return False
        if uri not in self.ids:
            self.ids[uri] = _ids_in(uri)
        ids = self.ids[uri]
        return ids is None or state.get("run_id") in ids


def _ids_in(uri: str) -> frozenset[str] | None:
    """Return the MLflow runs of an SQLite store that are not deleted, read without MLflow; None of a server."""
    path = store.sqlite_path(uri)
    if path is None:
        return None
    import sqlite3
    from contextlib import closing

    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as tables:
            found = tables.execute("SELECT run_uuid FROM runs WHERE lifecycle_stage = 'active'")
            return frozenset(number for (number,) in found)
    except sqlite3.Error:  # it is gone, or its tables are others than those of MLflow 3: MLflow itself is asked
        return frozenset()


def _has_changed(folder: Path, since: int) -> bool:
    """Whether a file that is delivered was written since a time, in nanoseconds; those of mirrors are none."""
    with os.scandir(folder) as entries:
        each = [one for one in entries if not one.name.startswith((".", "mlflow")) and not one.name.endswith(".lock")]
    if any(one.stat().st_mtime_ns >= since for one in each):
        return True
    return any(made.stat().st_mtime_ns >= since for made in (folder / ARTIFACTS).rglob("*"))


def is_shown(run: RunFolder) -> bool:
    """Whether the spec of a run lets it be delivered to MLflow."""
    return store.track_section(run).get("mlflow") is not False


def is_behind(run: RunFolder) -> bool:
    """Whether MLflow lacks something of a run that has ended, or of a study whose last delivery failed."""
    try:
        return _lacks_something(run, state_of(run))
    except (DlxError, OSError):  # it is damaged
        return True


def _lacks_something(run: RunFolder, state: dict[str, Any]) -> bool:
    if not ID.fullmatch(run.id):
        return bool(state.get("error"))
    records = run.dir / RECORDS
    size = records.stat().st_size if records.exists() else 0
    if not size or run.status() == "running":
        return False
    if not state:
        return is_shown(run)
    has_weights = (run.dir / "checkpoints" / "final.safetensors").exists()
    return bool(state.get("error")) or state.get("offset") != size or (has_weights and not state.get("model"))
