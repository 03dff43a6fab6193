"""From text to a validated Experiment: read with positions, compose, override, validate."""

from .experiment import Experiment, Track, Train, load, missing_section, objective_of

__all__ = ["Experiment", "Track", "Train", "load", "missing_section", "objective_of"]
