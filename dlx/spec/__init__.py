"""From text to a validated Experiment: read with positions, compose, override, validate."""

from .experiment import Experiment, Track, Train, load, missing_sections, objective_of

__all__ = ["Experiment", "Track", "Train", "load", "missing_sections", "objective_of"]
