"""What tests of analyses that train share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers import experiment_of

from dlx.analysis.result import Result
from dlx.analysis.subject import Subject, of_spec
from dlx.errors import SpecError
from dlx.spec.analyses import ANALYSES


def subject_in(folder: Path, text: str, *changes: str) -> Subject:
    """A spec whose trainings lie below a folder."""
    return replace(of_spec(experiment_of(text).changed(changes)), root=folder)


def analyzed(kind: str, subject: Subject, **options: Any) -> Result:
    """What an analysis finds that fits; of figures that its kind declares."""
    analysis = ANALYSES[kind](**options)
    assert analysis.problems(subject) == []
    found: Result = analysis.run(subject)
    assert [name for name in found.figures if not ANALYSES[kind].may_have(name)] == []
    return found


def refused(kind: str, subject: Subject, **options: Any) -> str:
    """Why an analysis does not fit, with the ways out."""
    problems = ANALYSES[kind](**options).problems(subject)
    if not problems:
        pytest.fail(f"{kind} fits")
    return str(SpecError(*problems))
