"""Requests to a mirror that serves many trainings: files of the user, in a folder for each store and its settings.

A request says which runs a training makes, and goes away when all of them is in MLflow: a mirror that is killed
leaves it to the next. No mlflow here.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from .. import __version__
from ..data.cache import cache_folder
from ..errors import DlxError
from ..runs.folder import RunFolder, alive
from ..utils import environment, files, json_documents, passwords
from .keeper import STEPS

IDLE = "DLX_MIRROR_IDLE"
"""Environment variable: seconds that a mirror stays when all is delivered; 0: each training has one of its own."""
SECONDS = 30.0
"""Seconds that it stays where nothing is said."""
DOOR, SERVED = "door.lock", "served.lock"
"""Locks: held while a request is made or a mirror ends; while a mirror is there."""
TRIES = 2 + len(STEPS)
"""How often a request is begun: its keeper may have ended as many mirrors as it has steps."""
DOOR_SECONDS = 0.5
"""Seconds after which nobody waits for a busy mirror any longer, and a training starts its own."""
LONGEST_IDLE = 86_400.0
"""Seconds that it stays at most: it holds memory."""
LONGEST = 7 * 86_400.0
"""Seconds after which a folder of requests is removed."""
OF_TERMINALS = (
    *("_", "SHLVL", "OLDPWD", "PWD", "COLUMNS", "LINES", "TERM", "LS_COLORS", "WINDOWID", "TMUX_PANE"),
    *("SSH_TTY", "SSH_CONNECTION", "SSH_CLIENT", "XDG_SESSION_ID", "TERM_SESSION_ID", "DLX_MIRROR_IDLE"),
)
"""Variables by which two terminals differ, and no delivery."""


def idle_seconds() -> float:
    """Return the seconds that a mirror stays when all is delivered. DlxError where the environment says no time."""
    return environment.seconds(IDLE, SECONDS, LONGEST_IDLE)


def folder_of(uri: str) -> Path:
    """Return the folder of a store's requests: another version of dlx, Python or environment has another one."""
    settings = {key: value for key, value in os.environ.items() if key not in OF_TERMINALS}
    about = [__version__, str(Path(__file__)), sys.executable, sys.version, str(Path.cwd()), uri]
    text = json.dumps([about, sorted((settings | passwords.for_children()).items())])
    return cache_folder() / "mirrors" / hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:32]


@dataclass(frozen=True)
class Request:
    """Runs of one training that a mirror is asked to deliver; `number` is that of its file."""

    home: Path
    number: int
    runs: tuple[Path, ...]
    uri: str
    experiment: str
    pid: int
    begun: int = 0
    """Mirrors that have begun it."""

    @property
    def path(self) -> Path:
        return self.home / f"{self.number}.json"

    @property
    def is_open(self) -> bool:
        """Whether not all of it is in MLflow, or its pictures are being drawn."""
        return self.path.exists()

    @property
    def trains(self) -> bool:
        """Whether the process that asked is there; another that got its number later is not."""
        return alive(self.pid, self.number / 1e9)

    @property
    def is_late(self) -> bool:
        """Whether its training has ended."""
        return not self.trains or any(RunFolder(run).end() is not None for run in self.runs)

    def write(self) -> None:
        """Write it whole."""
        about = {"runs": list(map(str, self.runs)), "uri": self.uri, "experiment": self.experiment}
        text = json_documents.dumps(about | {"pid": self.pid, "begun": self.begun})
        with files.synced(lambda: False):  # after a power cut there is no mirror; `dlx runs sync` delivers
            files.replace(self.path, text.encode())

    @classmethod
    def read(cls, path: Path) -> Request | None:
        """Read a request; None where its file is damaged or gone."""
        try:
            about: dict[str, Any] = json_documents.read(path)
            runs, number = tuple(map(Path, about["runs"])), int(path.stem)
            return cls(path.parent, number, runs, about["uri"], about["experiment"], about["pid"], about["begun"])
        except (DlxError, LookupError, TypeError, ValueError):
            return None


def ask(home: Path, runs: Sequence[Path], uri: str, experiment: str) -> Request:
    """Make a request, holding the door. Raises OSError where its file cannot be written."""
    request = Request(home, time.time_ns(), tuple(runs), uri, experiment, os.getpid())
    request.write()
    return request


def requests(home: Path) -> list[Request]:
    """Return the requests of a folder, the oldest first."""
    return [request for request in map(Request.read, sorted(home.glob("*.json"))) if request is not None]


def is_late(home: Path) -> bool:
    """Whether the training of a request has ended, so that somebody may wait for what is not delivered."""
    return any(request.is_late for request in requests(home))


def prune(home: Path) -> None:
    """Remove the folders of settings that nobody has had for a week."""
    for other in home.parent.iterdir():
        with suppress(OSError):
            if time.time() - other.stat().st_mtime > LONGEST and not is_served(other):
                shutil.rmtree(other)


def is_served(home: Path) -> bool:
    """Whether a mirror is there."""
    try:
        with FileLock(home / SERVED, timeout=0):
            return False
    except Timeout:
        return True
