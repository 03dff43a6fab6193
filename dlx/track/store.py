"""Stores of MLflow: their addresses, and a client without MLflow's noise. Only this module connects to `mlflow`."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from ..errors import DlxError
from ..runs.folder import RunFolder
from ..utils import imports, passwords
from . import schema

if TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE = "sqlite:///"

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
"""Environment of MLflow: no telemetry, no progress bars, and a server that does not answer is given up after 10 s."""


def tracking_uri(run: RunFolder, uri: str | None = None, *, reads_spec: bool = True) -> str:
    """Return the address for a run: `uri`, else its spec's, MLFLOW_TRACKING_URI, its previous one, its runs' own.

    Whoever has the spec gives its address as `uri`, and need not have it read again.

    Passwords are masked; `connect` knows them. MLFLOW_TRACKING_URI also serves an address whose password was left out
    of a file.
    """
    own = f"{SQLITE}{(run.root / 'mlflow.db').as_posix()}"
    from_environment = passwords.mask_and_remember(os.environ.get("MLFLOW_TRACKING_URI", ""))
    chosen = passwords.mask_and_remember(
        uri or (reads_spec and track_section(run).get("uri")) or from_environment or previous_uri(run) or own
    )
    chosen = from_environment if from_environment and _needs_password(chosen) else chosen
    path = sqlite_path(chosen)
    return f"{SQLITE}{path.absolute().as_posix()}" if path else chosen


def track_section(run: RunFolder) -> dict[str, Any]:
    """Return the `track` section of the run's spec."""
    return section(run, "track")


def section(run: RunFolder, key: str) -> dict[str, Any]:
    """Return a section of the run's spec as it is written; empty where there is none."""
    from ..spec.syntax.read import read

    with suppress(DlxError):
        found = read(run.file("spec.yaml")).at(key)
        return {name: node.plain() for name, node in found.map.items()} if found else {}
    return {}


def experiment_name(run: RunFolder, name: str | None = None) -> str:
    """Return the name of MLflow's experiment: `name`, else the spec's, the previous one, or the run's name."""
    chosen = name or track_section(run).get("experiment")
    with suppress(DlxError):
        before = run.read_json("mlflow.json").get("experiment")
        chosen = chosen or (before if isinstance(before, str) else None)
    return str(chosen or run.name)


def previous_uri(run: RunFolder) -> str:
    """Return the store that the run was sent to before."""
    with suppress(DlxError):
        known = run.read_json("mlflow.json").get("uri", "")
        return known if isinstance(known, str) else ""
    return ""


def _needs_password(uri: str) -> bool:
    """Whether the password of an address was left out, and this process does not know it."""
    return passwords.HIDDEN in uri and not passwords.is_known(uri) and not _credentials_in_environment(uri)


def _credentials_in_environment(uri: str) -> bool:
    """Whether MLflow finds user and password itself: for a server it reads them from the environment."""
    provided = any(os.environ.get(name) for name in ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"))
    return provided and uri.startswith(("http://", "https://"))


def sqlite_path(uri: str) -> Path | None:
    """Return the file of an SQLite store; None for another store."""
    return Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) and len(uri) > len(SQLITE) else None


def whole_address(uri: str) -> str:
    """Return the address with the password that this process knows. Raises DlxError where one is missing."""
    if _needs_password(uri):
        server = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
        hint = f"Set {server if uri.startswith('http') else ''}MLFLOW_TRACKING_URI to the whole address."
        raise DlxError(f"the password of {uri} is kept in no file. {hint}")
    whole = passwords.unmask(uri)
    if passwords.HIDDEN in whole:
        whole = re.sub(r"(://)[^/?#]*@", r"\1", whole)
    return whole


def quiet() -> None:
    """Set the environment of MLflow, before it is imported: it reads some of it then."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def load() -> None:
    """Import MLflow ahead of its first use."""
    quiet()
    # what is missing of it says so when it is used, and its warnings are not for the user of dlx
    with imports.uncollected(), suppress(ImportError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import_module("mlflow")


@cache
def connect(uri: str) -> MlflowClient:
    """Return MLflow's client, with the password of an address that this process knows.

    The first process on a machine creates the tables of an SQLite store while the others wait. Raises DlxError where
    a password is missing, or the store is of another version of MLflow.
    """
    whole = whole_address(uri)
    with store_lock(uri):  # others may be about to create the tables
        check(uri)
    quiet()
    with imports.uncollected():
        from mlflow import MlflowClient

        # two processes that create the tables at once both run alembic's migrations, and one of them fails
        with store_lock(uri):
            return MlflowClient(tracking_uri=whole)


def check(uri: str) -> None:
    """Raise DlxError where a store is one that the installed MLflow cannot read."""
    if (path := sqlite_path(uri)) is not None:
        schema.check(uri, path)


@contextmanager
def store_lock(uri: str) -> Iterator[None]:
    """Hold the lock of an SQLite store while tables or experiments are created; a server needs none."""
    path = sqlite_path(uri)
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(path.name + ".lock")):
        yield


def experiment_id(client: MlflowClient, uri: str, name: str) -> str:
    """Return the id of MLflow's experiment of that name, created or restored if need be.

    Artifacts of an SQLite store lie beside it.
    """
    from mlflow.exceptions import MlflowException

    path = sqlite_path(uri)
    artifacts = (path.parent / "mlartifacts").as_uri() if path else None
    with store_lock(uri):
        found = client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(client.create_experiment(name, artifact_location=artifacts))
            except MlflowException as error:  # another machine or a user may have created it in between
                found = client.get_experiment_by_name(name)
                if found is None:
                    raise error from None
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)
