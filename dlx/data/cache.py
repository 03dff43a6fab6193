"""The cache folder: files that are derived from data, and can be derived again."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ..errors import DataError

ABOUT = "`DLX_CACHE` names another folder."


def cache_folder() -> Path:
    """Return `DLX_CACHE`, or the folder `dlx` in the platform's folder for caches.

    Raises:
        DataError: there is no home folder, as in a container whose user has no name.
    """
    if folder := os.environ.get("DLX_CACHE"):
        return Path(folder)
    try:
        return _of_platform()
    except RuntimeError:  # HOME is not set, and no user has this number
        raise DataError("there is no home folder for the cache", hint=ABOUT) from None


def _of_platform() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "dlx"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "dlx" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dlx"


def cached_file(name: str, write: Callable[[Path], None]) -> Path:
    """Return the path of a cached file; `write` creates it where it is missing.

    Raises:
        DataError: the file cannot be written.
    """
    path = cache_folder() / name
    if path.is_file():
        return path
    # Under another name until it is whole: another process may look for it, and a killed one leaves nothing torn
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(partial)
        partial.replace(path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}", hint=ABOUT) from None
    finally:
        with suppress(OSError):
            partial.unlink()
    return path
