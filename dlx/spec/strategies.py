"""Base classes of samplers, which pick the points of a sweep, and of schedulers, which stop trials early.

Their kinds are in `dlx/sweeps`, which has the trials that they read; a spec only names them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ..registry import FAMILIES, Declared, Registry, family

SAMPLERS: Registry[Sampler] = FAMILIES["sampler"]
SCHEDULERS: Registry[Scheduler] = FAMILIES["scheduler"]


@family(SAMPLERS)
class Sampler(Declared):
    """Base of all samplers: picks the points that are tried next. Stateless: all it knows are its arguments."""

    required = ("ask",)

    several: ClassVar[bool] = False
    """Whether it optimizes several metrics at once; other samplers optimize the first."""

    def ask(
        self,
        space: Any,
        history: Sequence[Any],
        count: int,
        seed: int,
        metrics: Sequence[str],
        rising: Sequence[bool],
        taken: Sequence[dict[str, Any]] = (),
    ) -> list[dict[str, Any]]:
        """Return up to `count` points of a `dlx.sweeps.space.Space`; fewer where it has no more.

        `history` has the trials of earlier generations in order, `rising` whether more of each metric is better.
        `taken` are points that were refused or are running: they are not returned again.
        Deterministic: equal arguments give equal points.
        """
        raise TypeError(f"{type(self).__name__} has no ask()")


@family(SCHEDULERS)
class Scheduler(Declared):
    """Base of all schedulers: the steps at which trials are compared, and the trials that go on."""

    def rungs(self, total_steps: int, steps_per_epoch: int, generation: int = 0) -> list[int]:
        """Return the steps at which the trials of a generation are compared, in order; the last ends the training."""
        return [total_steps]

    def survivors(
        self, trials: Sequence[Any], rung: int, metric: str, rising: bool, history: Sequence[Any] = ()
    ) -> set[int]:
        """Return the numbers of the trials that go on after a rung, of those of one generation that reached it.

        `history` has the trials of earlier generations.
        """
        return {trial.number for trial in trials}

    def exploits(
        self, trials: Sequence[Any], rung: int, metric: str, rising: bool, space: Any, seed: int
    ) -> dict[int, Any]:
        """Return a `dlx.sweeps.schedulers.Exploit` for each trial that takes over weights after a rung, by number."""
        return {}
