"""The base class of analyses: experiments of the books on a network, `dlx analyze KIND SPEC|RUN`.

Their kinds are in `dlx/analysis/kinds`, which has the networks and data that they look at; a spec only names them.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from ..errors import Problem
from ..registry import FAMILIES, Declared, Registry, family

ANALYSES: Registry[Analysis] = FAMILIES["analysis"]


@family(ANALYSES)
class Analysis(Declared):
    """Base of all analyses. Fields are options, of which a bare value sets the first."""

    required = ("run",)

    source: ClassVar[str] = ""
    """The section of a book, or the paper, that has the experiment; shown with the figure."""
    example: ClassVar[str] = ""
    """A command that shows it: `dlx analyze activation_scale udl/figure-11-6`."""
    trained: ClassVar[bool] = False
    """Whether it says something of trained weights alone: it takes a run, and `verify` judges it under `--train`."""
    trains: ClassVar[bool] = False
    """Whether it trains variants of a spec itself, so that `verify` judges it under `--train`."""
    several: ClassVar[Literal["seeds", "networks", "no"]] = "seeds"
    """What several runs are to it: seeds of one spec (a mean with its interval), networks to compare, or an error."""

    def problems(self, subject: Any) -> list[Problem]:
        """Return why it does not fit the network or the data of a `dlx.analysis.subject.Subject`; without torch."""
        return []

    def run(self, subject: Any) -> Any:
        """Return a `dlx.analysis.result.Result`. Deterministic: equal subjects give equal results."""
        raise TypeError(f"{type(self).__name__} has no run()")
