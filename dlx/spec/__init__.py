"""From text to a validated Experiment: read with positions, compose, override, validate."""

from typing import TYPE_CHECKING, Any

from .sections.experiment import Experiment, Track, load, missing_sections, objective_of, supervised_of

if TYPE_CHECKING:
    from .sections.train import Train


def __getattr__(name: str) -> Any:
    """`Train`, which many specs have no section for, and which brings the roots of five families."""
    if name != "Train":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .sections.train import Train

    return Train


__all__ = ["Experiment", "Track", "Train", "load", "missing_sections", "objective_of", "supervised_of"]
