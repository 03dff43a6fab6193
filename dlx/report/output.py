"""Pictures as files: which format is meant, SVG as PNG and PDF by vl-convert."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from ..errors import DlxError
from ..utils import files
from .svg import Picture

SCALE: Final = 2.0
"""Pixels of a PNG for each of a picture's."""
LARGEST: Final = 16_384
"""Most pixels of a side of a PNG; a larger picture is drawn smaller."""


def format_of(
    output: Path | None,
    chosen: str | None,
    formats: Sequence[str],
    others: Mapping[str, str] = {},
    option: str = "--format",
) -> str:
    """Return the format that is asked for, by name or by the suffix of the file; else the first.

    `others` are suffixes that mean a format of another name, `option` names the format.
    DlxError where the two differ, or the suffix is of none.
    """
    suffix = output.suffix.lower().removeprefix(".") if output else ""
    found = others.get(suffix, suffix if suffix in formats else None)
    if chosen and found and found != chosen:
        raise DlxError(f"`--format {chosen}` and the file `{output}` differ", hint="Leave one of the two out.")
    if chosen or not output:
        return chosen or formats[0]
    if found is None:
        known = ", ".join(f".{one}" for one in (*formats, *others))
        ending = f", or give `{option}`." if option else "."
        raise DlxError(f"`{output}` does not say its format", hint=f"End it in one of {known}{ending}")
    return found


def rendered(picture: Picture, form: str) -> bytes:
    """Return a picture as the bytes of an SVG, PNG or PDF file."""
    if form == "svg":
        return picture.text.encode()
    import vl_convert

    if form == "pdf":
        return bytes(vl_convert.svg_to_pdf(picture.text))
    scale = min(SCALE, LARGEST / max(picture.width, picture.height))
    return bytes(vl_convert.svg_to_png(picture.text, scale=scale))


def check_writable(path: Path, option: str = "--output") -> None:
    """Raise DlxError where a file cannot be written; nothing is left behind."""
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        there = next(folder for folder in path.absolute().parents if folder.exists())
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise _unwritable(path, error, option) from error


def write(path: Path, content: bytes, option: str = "--output") -> None:
    """Write a file, with the folders to it. DlxError where it cannot be written, with the option that names it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace(path, content)
    except OSError as error:
        raise _unwritable(path, error, option) from error


def _unwritable(path: Path, error: OSError, option: str) -> DlxError:
    hint = f"Choose another file with `{option}`."
    return DlxError(f"{path} cannot be written: {files.reason(error)}", hint=hint)
