"""Kinds from files and modules that a spec names under `plugins`.

A plugin is one Python file, or the package that holds it. Its text is read once, compared with the digest that the
spec gives, if any, and run; the kinds that it defines are known to the specs that name it and to no others. A run
folder keeps a copy of the text.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .announcements import announced
    from .failures import called, failure_at, failure_of, is_foreign, raised_in
    from .loading import Digest, Plugin, copies, keep, load, use
    from .sources import FOLDER, Entry, place_of

__all__ = [
    "FOLDER",
    "Digest",
    "Entry",
    "Plugin",
    "announced",
    "called",
    "copies",
    "failure_at",
    "failure_of",
    "is_foreign",
    "keep",
    "load",
    "place_of",
    "raised_in",
    "use",
]

FILES = {"announced": "announcements"}
FILES |= dict.fromkeys(("called", "failure_at", "failure_of", "is_foreign", "raised_in"), "failures")
FILES |= dict.fromkeys(("FOLDER", "Entry", "place_of"), "sources")
"""Files in which names are that are not in `loading`."""


def __getattr__(name: str) -> Any:
    """Import a name on first use: whoever asks for help wants no pydantic."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{FILES.get(name, 'loading')}"), name)
