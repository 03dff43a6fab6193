"""The section that a key belongs into which stands beside the sections of a spec."""

from __future__ import annotations

from ...registry import Strict


def place_meant(key: str) -> str:
    """Return the hint about a key beside the sections of a spec that belongs into one of them; else nothing."""
    # not at the top: only a mistake needs them
    from .sweep import Sweep
    from .track import Track
    from .train import Train

    owners: dict[str, type[Strict]] = {"train": Train, "sweep": Sweep, "track": Track}
    fields = {"network": ["inputs", "layers", "outputs"]} | {
        name: [*one.model_fields] for name, one in owners.items()
    }
    owner = next((name for name, known in fields.items() if key in known), "")
    return f"It stands inside `{owner}`: `{owner}: {{{key}: ...}}`." if owner else Train.field_hint(key)
