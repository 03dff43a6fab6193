"""The learner: networks, an optimizer with a schedule for each, averages, and what one step of them is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from ..data.feed import Feed
from ..objectives import Objective
from ..optim.fused import direct
from ..schedules import Timeline
from ..spec import Train
from ..spec.sections.networks import ONE
from ..utils.torch_private import MissingNameError
from . import fallback, parameter_groups, weight_averages
from .compute import Compute
from .learning_rate import Pace
from .progress import Progress

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from .batches.data_part import DataPart

Update = Callable[[Any], "Tensor"]
"""One step of a learner: from the numbers of its examples, or else from the feed, to the losses before it, which stay
on the device: a scalar, or a tensor with one of each name."""
EVALUATION_BATCH = 1024


class Learner(ABC):
    """All that a step moves. `state()` and `load()` are the whole of it beside the weights of `module`.

    `networks` are called by name; `module` holds the weights of all of them, as checkpoints name them.
    """

    by_number = False
    """Whether a step takes the numbers of its examples from the feed, and not the feed itself."""
    losses: tuple[str, ...]
    """Names of what a step gives, as the curve has them."""
    periods: tuple[int, ...]
    """Each of them is there at every n-th step only, the first among them."""

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        module: nn.Module,
        objective: Objective,
        train: Train,
        progress: Progress,
        feed: Feed,
    ) -> None:
        self.networks, self.module, self.objective, self.train = networks, module, objective, train
        self.progress, self.feed = progress, feed
        self.span = self.spanned()
        self.way: dict[str, str] = {}
        """How a step is computed, and the reason."""
        self.faults: list[str] = []
        """What went wrong in the quicker ways to compute it, and what was done instead."""
        self.compute = Compute(train, module, lambda: progress.step, self.faults)
        self.paces = {name: self._pace(name) for name in self.moved()}
        self.averages = {
            name: weight_averages.Averaged(average, networks[name], self.span)
            for name in networks
            if (average := train.of(name).average) is not None
        }
        for error in self._missing():
            fallback.note([self.faults], fallback.LISTS, error)

    def _missing(self) -> Iterator[MissingNameError]:
        """What torch lacks of the operations on lists by which optimizers and averages move weights."""
        built = [pace.optimizer for pace in self.paces.values()]
        parts = [part for one in built for part in getattr(one, "parts", (one,))]
        for holder in (*parts, *self.averages.values()):
            yield from getattr(getattr(holder, "lists", None), "missing", [])

    def direct(self, optimizer: torch.optim.Optimizer) -> Callable[[], Any]:
        """The step of an optimizer without torch's bookkeeping, where that is possible."""
        return direct(optimizer, lambda error: fallback.note([self.faults], fallback.OPTIMIZER, error))

    def _pace(self, name: str) -> Pace:
        own, scope = self.train.of(name), "" if name == ONE else f"{name}/"
        built = own.optimizer.build(parameter_groups.split(self.networks[name], own, scope))
        return Pace(own.optimizer, built, own.schedule, self.span)

    @abstractmethod
    def moved(self) -> tuple[str, ...]:
        """The networks that have an optimizer."""

    @abstractmethod
    def spanned(self) -> Timeline:
        """How many steps there are, and how many of them make an epoch."""

    @abstractmethod
    def updater(self) -> Update:
        """One step, put together once."""

    @abstractmethod
    def evaluate(self, name: str, part: DataPart) -> dict[str, float]:
        """The metrics of a part of the data, with the weights that the networks have."""

    def rates(self) -> dict[str, float]:
        """The learning rates of the last update, as a point of the curve has them."""
        if len(self.networks) == 1:
            return {"lr": next(iter(self.paces.values())).rate}
        return {f"lr/{name}": pace.rate for name, pace in self.paces.items()}

    @contextmanager
    def judged(self) -> Iterator[None]:
        """The weights that are evaluated: the averages, where there are some."""
        with ExitStack() as stack:
            for average in self.averages.values():
                stack.enter_context(average.lent())
            yield

    def watched(self, measured: Mapping[str, float]) -> None:
        """Show an evaluation to what lowers a rate. RunError where it does not give the metric."""
        for pace in self.paces.values():
            pace.see(measured)

    def state(self) -> dict[str, Any]:
        """All that the next step depends on, beside the weights."""
        return {
            "paces": {name: pace.state() for name, pace in self.paces.items()},
            "compute": self.compute.state(),
            "averages": {name: average.state() for name, average in self.averages.items()},
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        for name, pace in self.paces.items():
            pace.load(state["paces"][name])
        self.compute.restore(state.get("compute"), [pace.optimizer for pace in self.paces.values()])
        for name, average in self.averages.items():
            average.restore(state["averages"][name])
