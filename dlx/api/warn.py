"""Warnings of the Python API, which the commands write to stderr."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

from ..errors import DlxWarning, Problem
from ..spec import Experiment


def warn(problems: Iterable[Problem], stacklevel: int) -> None:
    """Warn of each at the line `stacklevel` calls above: 3 for the caller of a function that calls this."""
    for problem in problems:
        warnings.warn(str(problem), DlxWarning, stacklevel=stacklevel)


def warn_of_password(experiment: Experiment) -> None:
    """Warn of a password in `track.uri`, at the caller of a function that calls this."""
    if (problem := experiment.password_warning()) is not None:
        warn([problem], 4)
