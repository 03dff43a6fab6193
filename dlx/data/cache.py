"""Where files are kept that are made from data, and can be made again."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ..errors import DataError

ABOUT = "`DLX_CACHE` names another folder."


def cache_folder() -> Path:
    """`DLX_CACHE`, or `dlx` in the folder that the platform has for it."""
    if folder := os.environ.get("DLX_CACHE"):
        return Path(folder)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "dlx"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "dlx" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dlx"


def cached_file(name: str, write: Callable[[Path], None]) -> Path:
    """The file of that name; `write` makes it where it is missing, under another name until it is whole.

    DataError where the disk does not take it.
    """
    path = cache_folder() / name
    if path.is_file():
        return path
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
