"""What each phase of an objective calls, moves and reads, and how often: for `dlx inspect`, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..objectives import Call, Phase


@dataclass(frozen=True)
class PhasePlan:
    """A phase of a step with the calls of networks in it."""

    phase: Phase
    calls: tuple[Call, ...]

    @property
    def name(self) -> str:
        return self.phase.name

    @property
    def called(self) -> tuple[str, ...]:
        """The names of the networks that it calls, each once, in their order."""
        return tuple(dict.fromkeys(call.network for call in self.calls))

    @property
    def how_often(self) -> str:
        """How often it runs: `once`, `5 times`, `every 2 steps`, `5 times every 2 steps`."""
        times = f"{self.phase.times} times" if self.phase.times > 1 else ""
        every = f"every {self.phase.every} steps" if self.phase.every > 1 else ""
        return " ".join(filter(None, (times, every))) or "once"

    def as_json(self) -> dict[str, Any]:
        """Return what `inspect --json` says of it."""
        phase = self.phase
        return {
            "name": phase.name,
            "calls": [call.as_json() for call in self.calls],
            "moves": list(phase.moves),
            "reads": list(phase.reads),
            "times": phase.times,
            "every": phase.every,
        }


def phase_plans(phases: Sequence[Phase], calls: Sequence[Call]) -> tuple[PhasePlan, ...]:
    """Return the phases with their calls; a call that names no phase is one of each."""
    return tuple(
        PhasePlan(phase, tuple(call for call in calls if not call.phases or phase.name in call.phases))
        for phase in phases
    )
