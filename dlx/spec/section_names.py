"""The names of the sections of a spec, and the hint about one that stands inside another."""

from __future__ import annotations

from ..errors import Mark

SECTIONS = (
    "dlx",
    "name",
    "source",
    "defaults",
    "plugins",
    "vars",
    "blocks",
    "network",
    "networks",
    "data",
    "objective",
    "init",
    "weights",
    "train",
    "freeze",
    "prune",
    "stages",
    "expect",
    "recorded",
    "analyses",
    "track",
    "sweep",
    "baselines",
)


def section_meant(key: str, mark: Mark) -> str:
    """Return the hint about a key inside a section that is a section of its own; else nothing."""
    if key not in SECTIONS or key in ("name", "source"):
        return ""
    if mark.file.endswith(".toml"):
        return f"`{key}` belongs at the top of the file, above the first `[table]`, or into a table `[{key}]`."
    return f"`{key}` is a section of the spec: it stands beside the others, without spaces before it."
