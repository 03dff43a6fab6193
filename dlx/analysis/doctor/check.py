"""What a check is: a function from a patient to an outcome, under the name that its row has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ...errors import Mark

if TYPE_CHECKING:
    from .probe import Patient

Verdict = Literal["ok", "look", "wrong", "not run"]


@dataclass(frozen=True)
class Outcome:
    """What a check measured, what it should be, and where they differ what is wrong, where, and the way out.

    `look` may be meant so, `wrong` will not train as it is written.
    """

    verdict: Verdict
    figure: str
    expected: str = ""
    finding: str = ""
    hint: str = ""
    mark: Mark | None = None


@dataclass(frozen=True)
class Checked:
    """A row of the report."""

    check: str
    outcome: Outcome

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


Check = Callable[["Patient"], Outcome]
CHECKS: dict[str, Check] = {}
"""All checks by name."""


def check(name: str) -> Callable[[Check], Check]:
    """A decorator that adds a check."""

    def add(function: Check) -> Check:
        CHECKS[name] = function
        return function

    return add


def left_out(why: str) -> Outcome:
    """A check that says nothing here."""
    return Outcome("not run", "", why)


def names(found: Sequence[str], most: int = 3) -> str:
    """`linear_1`, `linear_2` and 4 more."""
    shown = [f"`{name}`" for name in found[:most]]
    if len(found) > most:
        return f"{', '.join(shown)} and {len(found) - most} more"
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))
