"""Who is told before the code of a plugin runs. A module of its own: no command pays for pydantic to ask for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..errors import Mark

    Callback = Callable[[str, Mark], None]
    """Called with the name of a plugin, and the place that names it, before its code runs."""

_callbacks: list[Callback] = []
_said: set[str] = set()
_last: list[str] = []
"""The digest of the last plugin, if there was one."""


def announced(callback: Callback | None) -> None:
    """Call this callback, or none, from now on, and no other: once for each plugin."""
    _callbacks[:] = [callback] if callback is not None else []
    _said.clear()


def announce(digest: str, name: str, mark: Mark) -> None:
    """Say that the plugin of a digest is about to run, where it has not been said."""
    _last[:] = [digest]
    if digest not in _said:
        _said.add(digest)
        for callback in _callbacks:
            callback(name, mark)


def have_run() -> bool:
    """Whether the code of a plugin has run in this process."""
    return bool(_last)
