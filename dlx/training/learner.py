"""The learner: networks, an optimizer with a schedule for each, averages of weights, and one update of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from ..data.feed import Feed
from ..lazy import nn
from ..objectives import Objective
from ..optim import WeightGroup
from ..optim.fused import direct
from ..schedules import Timeline
from ..spec import Train
from ..spec.sections.networks import ONE
from ..utils.torch_private import MissingNameError
from . import fallback, parameter_groups, weight_averages
from .compute import Compute
from .following import Following
from .freezing import Freezing
from .learning_rate import ScheduledOptimizer
from .moving_values import MovingValues
from .progress import Progress
from .pruning import Pruning
from .update_scales import UpdateScales

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .batches.data_part import DataPart

Update = Callable[[Any], "Tensor"]
"""One update of a learner: takes the indices of its examples, or None where the learner asks the feed, and returns
the losses before the update, on the device: a scalar, or (losses,) in the order of `Learner.losses`."""
EVALUATION_BATCH = 1024
"""Examples of an evaluation at once, at most."""


class Learner(ABC):
    """All that an update changes. `state()` and `load()` are the whole of it, apart from the weights of `module`.

    `networks` are called by name; `module` holds the weights of all of them, as checkpoints name them.
    """

    by_index = False
    """Whether an update takes the indices of its examples, rather than asking the feed."""
    losses: tuple[str, ...]
    """Names of the losses of an update, as points of the curve have them."""
    periods: tuple[int, ...]
    """Of each loss, that it is computed in every n-th update only, the first among them."""

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        module: nn.Module,
        objective: Objective,
        train: Train,
        progress: Progress,
        feed: Feed,
        freezing: Freezing | None = None,
        pruning: Pruning | None = None,
    ) -> None:
        self.networks, self.module, self.objective, self.train = networks, module, objective, train
        self.progress, self.feed = progress, feed
        self.span = self.plan_timeline()
        self.values = MovingValues(module, objective, self.span)
        self.freezing = freezing if freezing is not None else Freezing()
        self.freezing.plan(self.span)
        self.pruning = pruning if pruning is not None else Pruning()
        self._built: tuple[int, Update] | None = None
        self.way: dict[str, str] = {}
        """Kind of the update (`step`: plain, replayed or packed) and the reason for it; written to lock.json."""
        self.faults: list[str] = []
        """Failures of the faster ways to compute it, with what was done instead."""
        self.compute = Compute(train, module, lambda: progress.step, self.faults)
        self.optimizers = {name: self._scheduled_optimizer(name) for name in self.trained_networks()}
        self.scales = UpdateScales(module) if train.log_gradients else None
        """Sizes of gradients and updates by layer, where the spec asks for them."""
        self.averages = {
            name: weight_averages.WeightAverage(average, networks[name], self.span)
            for name in networks
            if (average := train.of(name).average) is not None
        }
        self.followings: dict[str, Following] = {}
        """The networks that follow others, by name; each has neither optimizer nor average."""
        for error in self._missing():
            fallback.note([self.faults], fallback.LISTS, error)

    def follow(self, followings: Mapping[str, Following]) -> None:
        """Let networks follow others from their first values on."""
        self.followings = dict(followings)
        for name, one in followings.items():
            self.averages.pop(name, None)
            one.begin()

    def _missing(self) -> Iterator[MissingNameError]:
        """Yield the operations on lists that this torch lacks, which optimizers and averages update weights by."""
        built = [scheduled.optimizer for scheduled in self.optimizers.values()]
        parts = [part for one in built for part in getattr(one, "parts", (one,))]
        for holder in (*parts, *self.averages.values()):
            yield from getattr(getattr(holder, "lists", None), "missing", [])

    def fast_step(self, optimizer: torch.optim.Optimizer) -> Callable[[], Any]:
        """Return the step of an optimizer without torch's wrappers around it, where it has one."""
        return direct(optimizer, lambda error: fallback.note([self.faults], fallback.OPTIMIZER, error))

    def gradient_limits(self, weights: list[Tensor]) -> Callable[[], None]:
        """Return the function that masks the gradients of pruned weights, and clips those of all."""
        mask, value, norm = self.pruning.of(weights), self.train.clip_value, self.train.clip_norm

        def limit() -> None:
            mask()
            if value is not None:
                nn.utils.clip_grad_value_(weights, value)
            if norm is not None:
                nn.utils.clip_grad_norm_(weights, norm)

        return limit

    def _scheduled_optimizer(self, name: str) -> ScheduledOptimizer:
        own = self.train_of(name)
        built = own.optimizer.build(self.weight_groups(name, own, self.freezing.until_by_weight()))
        return ScheduledOptimizer(own.optimizer, built, own.schedule, self.span)

    def train_of(self, name: str) -> Train:
        """Return the training of what has an optimizer called `name`: a network, or the objective."""
        return self.train.of(name)

    def weight_groups(self, name: str, train: Train, waits: Mapping[Tensor, int]) -> list[WeightGroup]:
        """Return the weights that the optimizer called `name` moves, in groups; `waits` as in `split`."""
        return parameter_groups.split(self.networks[name], train, "" if name == ONE else f"{name}/", waits)

    @abstractmethod
    def trained_networks(self) -> tuple[str, ...]:
        """Return the names of the networks that have an optimizer."""

    @abstractmethod
    def plan_timeline(self) -> Timeline:
        """Return how many steps there are, and how many of them make an epoch."""

    @abstractmethod
    def build_update(self) -> Update:
        """Build the function that takes one update; all that does not change from step to step is done here."""

    @abstractmethod
    def evaluate(self, name: str, part: DataPart) -> dict[str, float]:
        """Return the metrics of a part of the data, with the weights that the networks have now."""

    def current_update(self) -> Update:
        """Return the function that takes one update, built anew where a freeze has ended since."""
        self.freezing.apply(self.progress.step)
        if self._built is None or self._built[0] != self.freezing.period:
            self._built = self.freezing.period, self.build_update()
        return self._built[1]

    def set_training_mode(self) -> None:
        """Put the networks into training mode, but for what the spec holds in evaluation."""
        self.module.train()
        self.freezing.hold(self.progress.step)

    def rates(self) -> dict[str, float]:
        """Return the learning rates of the last update, and the values that move, by their names in a point of the
        curve: `lr` or `lr/NAME`, `value/dropout_1.p`.
        """
        if len(self.networks) == len(self.optimizers) == 1:
            return {"lr": next(iter(self.optimizers.values())).rate, **self.values.values}
        rates = {f"lr/{name}": scheduled.rate for name, scheduled in self.optimizers.items()}
        return {**rates, **self.values.values}

    @contextmanager
    def evaluation_weights(self) -> Iterator[None]:
        """Put the averages of the weights, where the spec has some, into the networks within the context."""
        with ExitStack() as stack:
            for average in self.averages.values():
                stack.enter_context(average.applied())
            yield

    def report_metrics(self, measured: Mapping[str, float]) -> None:
        """Pass an evaluation to the schedules that watch a metric. RunError where it lacks theirs."""
        for scheduled in self.optimizers.values():
            scheduled.report(measured)

    def state(self) -> dict[str, Any]:
        """Return all that the next step depends on, apart from the weights."""
        return {
            # the names of checkpoints on disk: older runs are resumed from them
            "paces": {name: scheduled.state() for name, scheduled in self.optimizers.items()},
            "compute": self.compute.state(),
            "averages": {name: average.state() for name, average in self.averages.items()},
            **({"pruning": self.pruning.state()} if self.pruning else {}),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        for name, scheduled in self.optimizers.items():
            scheduled.load(state["paces"][name])
        # after the optimizers, whose tensors it lays out in memory as the weights lie
        self.compute.restore(state.get("compute"), [scheduled.optimizer for scheduled in self.optimizers.values()])
        for name, average in self.averages.items():
            average.restore(state["averages"][name])
        if self.pruning:
            self.pruning.load(state["pruning"])
