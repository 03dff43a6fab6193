"""How a sweep picks what to try, and who goes on: the roots of both families.

Their kinds live in `dlx/sweep`, beside the results that they look at; a spec only names them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ..registry import FAMILIES, Declared, Registry, family

SAMPLERS: Registry[Sampler] = FAMILIES["sampler"]
SCHEDULERS: Registry[Scheduler] = FAMILIES["scheduler"]


@family(SAMPLERS)
class Sampler(Declared):
    """The root of all samplers: which points are tried next. It remembers nothing, and knows what it is given."""

    several: ClassVar[bool] = False
    """Whether it looks at several metrics at once; the others look at the first."""

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
        """Up to `count` points of a `dlx.sweeps.space.Space`; fewer where it has no more.

        `history` has the trials of earlier generations in their order, `rising` whether more of a metric is better.
        `taken` are points that were refused, or are on their way: they are not given again.
        The same arguments give the same points.
        """
        raise TypeError(f"{type(self).__name__} has no ask()")


@family(SCHEDULERS)
class Scheduler(Declared):
    """The root of all schedulers: when trials are compared, and which of them go on."""

    def rungs(self, total_steps: int, steps_per_epoch: int, generation: int = 0) -> list[int]:
        """The steps at which the trials of a generation are compared, in order; the last is the end of training."""
        return [total_steps]

    def survivors(
        self, trials: Sequence[Any], rung: int, metric: str, rising: bool, history: Sequence[Any] = ()
    ) -> set[int]:
        """The numbers of those that go on after a rung, out of the trials of one generation that reached it.

        `history` has the trials of earlier generations.
        """
        return {trial.number for trial in trials}

    def exploits(
        self, trials: Sequence[Any], rung: int, metric: str, rising: bool, space: Any, seed: int
    ) -> dict[int, Any]:
        """By number, those that take over another one's weights after a rung: a `dlx.sweeps.schedulers.Exploit`."""
        return {}
