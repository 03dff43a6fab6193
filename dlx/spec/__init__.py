"""Specs: read with positions, composed, overridden and validated to an `Experiment`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .sections.experiment import Experiment, load, use_plugins_of
    from .sections.track import Track
    from .sections.train import Train
    from .sections.training_needs import missing_sections, objective_of, supervised_of

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

FILES = {"Train": "train"} | dict.fromkeys(("missing_sections", "objective_of", "supervised_of"), "training_needs")
"""Files of `sections/` in which names are that are not in that of the experiment."""


def __getattr__(name: str) -> Any:
    """Import a name on first use: completion in the shell wants `shipped` alone, and many specs no `Train`."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.sections.{FILES.get(name, 'experiment')}")
    return getattr(module, name)
