"""Checks: functions from a probe to an outcome, registered by the name of their row in the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ...errors import Mark

if TYPE_CHECKING:
    from .probe import Probe

Verdict = Literal["ok", "look", "wrong", "not run"]


@dataclass(frozen=True)
class CheckOutcome:
    """The result of a check: the measured figure, the expected one, and where they differ a finding and a hint.

    The verdict "look" may be intended; with "wrong" the spec will not train as it is written.
    """

    verdict: Verdict
    figure: str
    expected: str = ""
    finding: str = ""
    hint: str = ""
    mark: Mark | None = None


@dataclass(frozen=True)
class CheckRow:
    """A row of the report."""

    check: str
    outcome: CheckOutcome

    def as_json(self) -> dict[str, Any]:
        one = self.outcome
        mark = one.mark or Mark("")
        return {
            "check": self.check,
            "verdict": one.verdict,
            "figure": one.figure,
            "expected": one.expected,
            "finding": one.finding,
            "file": mark.file or None,
            "line": mark.line or None,
            "hint": one.hint,
        }


Check = Callable[["Probe"], CheckOutcome]
CHECKS: dict[str, Check] = {}
"""All checks by name."""


def check(name: str) -> Callable[[Check], Check]:
    """Return a decorator that registers a check."""

    def add(function: Check) -> Check:
        CHECKS[name] = function
        return function

    return add


def not_run(why: str) -> CheckOutcome:
    """Return the outcome of a check that does not apply."""
    return CheckOutcome("not run", "", why)
