"""Whether the tables of an SQLite store are those of the installed MLflow. No mlflow here: it is asked before that.

MLflow 3.17 upgrades the tables of an older version without a word where some are missing: the version that wrote
them cannot read them any more. And it tries ten times to open a file that is no database, with waits of 101 s in all.
"""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

from ..errors import DlxError
from ..utils import passwords
from .store_errors import ANOTHER_VERSION


def check(uri: str, path: Path) -> None:
    """Raise DlxError where the file of a store is no database, or one of another version of MLflow."""
    if not path.exists() or (path.is_file() and not path.stat().st_size):
        return
    if not path.is_file() or not os.access(path, os.R_OK):
        raise DlxError(f"{path} cannot be read: it is no file, or of another user")
    try:
        found = _version_in(path)
    except sqlite3.OperationalError:  # such as one that is locked: MLflow waits, or says why not
        return
    except sqlite3.DatabaseError as error:
        raise DlxError(f"{path} is no database of MLflow: {error}; move it away, and another one is made") from error
    newest = newest_version()
    if newest is not None and found not in (None, newest):
        raise DlxError(ANOTHER_VERSION.format(uri=passwords.masked(uri)))


def _version_in(path: Path) -> str | None:
    """Return the version of MLflow's tables in a file, empty where they have none; None without such tables."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as file:
        tables = {name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "experiments" not in tables:
            return None
        rows = file.execute("SELECT version_num FROM alembic_version") if "alembic_version" in tables else ()
        return next((str(version) for (version,) in rows), "")


def newest_version() -> str | None:
    """Return the version of the tables that the installed MLflow writes; None where its files do not say it.

    It is the migration that no other one follows, as the files of each say; importing them takes seconds.
    """
    package = find_spec("mlflow")
    if package is None or not package.submodule_search_locations:
        return None
    folder = Path(package.submodule_search_locations[0], "store", "db_migrations", "versions")
    texts = [path.read_text(errors="replace") for path in folder.glob("*.py")]
    every = {name for text in texts for name in re.findall(r"^revision\b.*= *['\"](\w+)['\"]", text, re.M)}
    followed = {
        name for text in texts for line in re.findall(r"^down_revision\b.*", text, re.M) for name in _quoted(line)
    }
    newest = every - followed
    return newest.pop() if len(newest) == 1 else None


def _quoted(line: str) -> list[str]:
    return re.findall(r"['\"](\w+)['\"]", line)
