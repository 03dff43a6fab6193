"""Specs: read with positions, composed, overridden and validated to an `Experiment`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .sections.experiment import (
        Experiment,
        load,
        missing_sections,
        objective_of,
        supervised_of,
        use_plugins_of,
    )
    from .sections.track import Track
    from .sections.train import Train

__all__ = [
    "Experiment",
    "Track",
    "Train",
    "load",
    "missing_sections",
    "objective_of",
    "supervised_of",
    "use_plugins_of",
]


def __getattr__(name: str) -> Any:
    """Import a name on first use: completion in the shell wants `shipped` alone, and many specs no `Train`."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.sections.{'train' if name == 'Train' else 'experiment'}")
    return getattr(module, name)
