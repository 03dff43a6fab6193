"""Where MLflow keeps things, and how it is called without its noise. The only door to `mlflow`."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from ..errors import DlxError
from ..runs.folder import Run
from ..utils import passwords

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


def tracking_uri(run: Run, uri: str | None = None) -> str:
    """Where a run goes: as asked; by its spec; MLFLOW_TRACKING_URI; where it went before; the runs' own store.

    Passwords are left out, and `connect` knows them. MLFLOW_TRACKING_URI also serves an address whose password was
    left out of a file.
    """
    own = f"{SQLITE}{(run.root / 'mlflow.db').as_posix()}"
    around = passwords.mask_and_remember(os.environ.get("MLFLOW_TRACKING_URI", ""))
    chosen = passwords.mask_and_remember(uri or spec_track(run).get("uri") or around or went_before(run) or own)
    chosen = around if around and _wants_password(chosen) else chosen
    path = sqlite_path(chosen)
    return f"{SQLITE}{path.absolute().as_posix()}" if path else chosen


def spec_track(run: Run) -> dict[str, Any]:
    """The `track` section of the run's spec."""
    from ..spec.syntax.read import read

    with suppress(DlxError):
        section = read(run.file("spec.yaml")).at("track")
        return {key: node.plain() for key, node in section.map.items()} if section else {}
    return {}


def experiment_name(run: Run, name: str | None = None) -> str:
    """MLflow's experiment: as asked; by the spec; where the run went before; the run's name."""
    chosen = name or spec_track(run).get("experiment")
    with suppress(DlxError):
        before = run.read_json("mlflow.json").get("experiment")
        chosen = chosen or (before if isinstance(before, str) else None)
    return str(chosen or run.name)


def went_before(run: Run) -> str:
    """The store that the run was sent to."""
    with suppress(DlxError):
        known = run.read_json("mlflow.json").get("uri", "")
        return known if isinstance(known, str) else ""
    return ""


def _wants_password(uri: str) -> bool:
    """Whether the password of an address was left out, and nobody here knows it."""
    return passwords.HIDDEN in uri and not passwords.is_known(uri) and not _of_environment(uri)


def _of_environment(uri: str) -> bool:
    """Whether MLflow itself finds user and password: for a server it looks into the environment."""
    given = any(os.environ.get(name) for name in ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"))
    return given and uri.startswith(("http://", "https://"))


def sqlite_path(uri: str) -> Path | None:
    """The file of an SQLite store."""
    return Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) and len(uri) > len(SQLITE) else None


@cache
def connect(uri: str) -> MlflowClient:
    """MLflow's client, with the password of an address that this process knows.

    The first on a machine makes the tables of an SQLite store while the others wait. DlxError where a password is
    wanted.
    """
    if _wants_password(uri):
        server = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
        hint = f"Set {server if uri.startswith('http') else ''}MLFLOW_TRACKING_URI to the whole address."
        raise DlxError(f"the password of {uri} is kept in no file. {hint}")
    whole = passwords.unmask(uri)
    if passwords.HIDDEN in whole:
        whole = re.sub(r"(://)[^/?#]*@", r"\1", whole)
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from mlflow import MlflowClient

    with store_lock(uri):
        return MlflowClient(tracking_uri=whole)


@contextmanager
def store_lock(uri: str) -> Iterator[None]:
    """No other dlx process makes tables or experiments in this SQLite store meanwhile; a server minds that itself."""
    path = sqlite_path(uri)
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(path.name + ".lock")):
        yield


def experiment_id(client: MlflowClient, uri: str, name: str) -> str:
    """MLflow's experiment of that name, made if need be. Artifacts of an SQLite store lie beside it."""
    from mlflow.exceptions import MlflowException

    path = sqlite_path(uri)
    place = (path.parent / "mlartifacts").as_uri() if path else None
    with store_lock(uri):
        found = client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(client.create_experiment(name, artifact_location=place))
            except MlflowException as error:
                found = client.get_experiment_by_name(name)
                if found is None:
                    raise error from None
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)
