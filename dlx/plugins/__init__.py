"""Kinds from files and modules that a spec names under `plugins`.

A plugin is one Python file, or the package that holds it. Its text is read once, compared with the digest that the
spec gives, if any, and run; the kinds that it defines are known to the specs that name it and to no others. A run
folder keeps a copy of the text.
"""

from .failures import called, failure_at, failure_of, is_foreign, raised_in
from .loading import Digest, Plugin, announced, copies, keep, load, use
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
