"""Specs: read with positions, composed, overridden and validated to an `Experiment`."""

from typing import TYPE_CHECKING, Any

from .sections.experiment import Experiment, Track, load, missing_sections, objective_of, supervised_of

if TYPE_CHECKING:
    from .sections.train import Train


def __getattr__(name: str) -> Any:
    """Import `Train` on first use: many specs have no such section, and it imports the roots of five families."""
    if name != "Train":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .sections.train import Train

    return Train


__all__ = ["Experiment", "Track", "Train", "load", "missing_sections", "objective_of", "supervised_of"]
