"""Several networks, moved in the phases of an objective: each calls networks, and moves some of them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from math import ceil, lcm
from typing import TYPE_CHECKING, Any

from ..data.batch import Batch
from ..errors import DlxError, Problem, RunError, first_line, with_article
from ..graph import Graphs
from ..lazy import nn, torch
from ..metrics import Mean
from ..objectives import Objective, Phase
from ..schedules import Timeline
from ..spec import Experiment, Train, objective_of
from .learner import EVALUATION_BATCH, Learner, Update

if TYPE_CHECKING:
    from torch import Tensor

    from .batches.data_part import DataPart


def batches_of(phases: Sequence[Phase], step: int) -> int:
    """Batches that a step takes: one for each repetition of a phase, and one for phases that come before these."""
    taken = 0
    for phase in phases:
        if phase.reads and step % phase.every == 0 and (phase.times > 1 or not taken):
            taken += phase.times
    return taken


def steps_for(phases: Sequence[Phase], batches: int) -> int:
    """The fewest steps that take so many batches; a step counts as one where no phase reads fields."""
    cycle = list(accumulate(batches_of(phases, step) for step in range(lcm(*(phase.every for phase in phases)))))
    if not cycle[-1] or not batches:
        return batches
    whole, rest = divmod(batches - 1, cycle[-1])
    return whole * len(cycle) + bisect_left(cycle, rest + 1) + 1


def span(objective: Objective, train: Train, batches: int | None) -> Timeline:
    """The steps of a training with so many batches in an epoch. DlxError where it lasts epochs and there are none."""
    phases = objective.phases()
    if batches is None and train.steps is None:
        raise DlxError("the data has no epochs", hint="Write `train: {steps: N}`.")
    per_epoch = steps_for(phases, batches) if batches else train.steps or 1
    return Timeline(train.steps or steps_for(phases, ceil((train.epochs or 0) * (batches or 0))), per_epoch)


def problems(experiment: Experiment, graphs: Graphs) -> list[Problem]:
    """What stands against training these networks by the phases of the objective."""
    objective, train = objective_of(experiment), experiment.train
    place, moved = experiment.place("objective"), dict.fromkeys(n for p in objective.phases() for n in p.moves)
    found = []
    names = ", ".join(f"`{name}`" for name in graphs)
    for name in moved:
        if name not in graphs:
            message = f"`{objective.kind}` trains the network `{name}`, and the spec has {names}"
            found.append(
                Problem(message, f"Write it under `networks`: `{name}: {{layers: [...]}}`.", place, "objective")
            )
        elif not graphs[name].trainable:
            message = f"`{objective.kind}` trains the network `{name}`, which has no weight to train"
            found.append(Problem(message, "", experiment.place("networks", name), f"networks.{name}"))
    if train is None:
        return found
    at, path = experiment.place("train", "optimizer"), "train.optimizer"
    for name in moved if train.optimizers else ():
        if name not in train.optimizers:
            message = f"there is no optimizer for the network `{name}`, which `{objective.kind}` trains"
            found.append(Problem(message, f"Write `optimizer: {{{name}: adam}}` beside the others.", at, path))
    for field in ("optimizer", "schedule", "average"):
        for name in (name for name in train.named(field) if name not in moved):
            message = f"the network `{name}` has {with_article(field)}, and no phase of `{objective.kind}` trains it"
            mark = experiment.place("train", field, name)
            found.append(Problem(message, "Leave it out.", mark, f"train.{field}.{name}"))
    return [*found, *_not_yet(experiment, objective, train, list(moved))]


def _not_yet(experiment: Experiment, objective: Objective, train: Train, moved: list[str]) -> Iterator[Problem]:
    """Fields of `train` that have no meaning for phases, or none yet."""
    asks = [one.optimizer.kind for name in moved if (one := train.of(name)).optimizer.takes != "gradient"]
    renews = [one.average.kind for name in moved if (one := train.of(name)).average and one.average.renews]
    fields = {
        "optimizer": (bool(asks), f"{', '.join(asks)} looks at the loss more than once a step", "Take another one."),
        "average": (bool(renews), f"{', '.join(renews)} computes the statistics of batch norms anew", "Take `ema`."),
        "precision": (train.precision == "fp16", "fp16 scales the gradients of one loss", "Take `bf16`."),
        "compile": (train.compile, "`compile: true` is for one network", "Leave it out."),
        "detect_anomaly": (train.detect_anomaly, "`detect_anomaly` is for one network", "Leave it out."),
        "trace": (train.trace is True, "`trace: true` replays the step of one network", "Leave it out."),
        "augment": (bool(train.augment), "`augment` is for inputs with targets", "Leave it out."),
        "test_time": (train.test_time is not None, "`test_time` is for inputs with targets", "Leave it out."),
        "batch_schedule": (train.batch_schedule is not None, "batches that grow are for one phase", "Leave it out."),
        "recompute_statistics": (
            bool(train.recompute_statistics),
            "it runs one network on its inputs",
            "Leave it out.",
        ),
    }
    for name, (there, why, out) in fields.items():
        if there:
            message = f"{why}, and `{objective.kind}` has phases"
            yield Problem(message, out, experiment.place("train", name), f"train.{name}")


class Phased(Learner):
    """Takes the batches of a step from the feed, phase by phase."""

    def __init__(self, *args: Any) -> None:
        self.own_random = torch.Generator()
        """The generator that the objective draws from, on the CPU."""
        super().__init__(*args)
        self.phases = tuple(self.objective.phases())
        self.own_random.manual_seed(self.train.seed)
        self.calls: dict[str, Callable[..., Any]] = {
            name: self.compute.of(network) for name, network in self.networks.items()
        }
        self.steps = {name: self.direct(pace.optimizer) for name, pace in self.paces.items()}
        self.losses = self.periods = ()

    def moved(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for phase in self.objective.phases() for name in phase.moves))

    def spanned(self) -> Timeline:
        return span(self.objective, self.train, self.feed.batches)

    def call(self, network: str, /, *inputs: Tensor, **named: Tensor) -> Any:
        """Run a network in the precision and on the device of the training."""
        to = self.compute.device
        return self.calls[network](*(x.to(to) for x in inputs), **{name: x.to(to) for name, x in named.items()})

    def updater(self) -> Update:
        weights = {
            phase.name: [
                p for name in phase.moves for g in self.paces[name].optimizer.param_groups for p in g["params"]
            ]
            for phase in self.phases
        }

        def step(_: object) -> Tensor:
            batch: Batch | None = None
            found: dict[str, Tensor] = {}
            for phase in self.phases:
                if self.progress.step % phase.every:
                    continue
                for _repetition in range(phase.times):
                    if phase.reads and (batch is None or phase.times > 1):
                        batch = self.feed.next(phase.name)
                    found |= self._move(phase, Batch({}) if batch is None else batch, weights[phase.name])
            return self._gathered(found)

        return step

    def _move(self, phase: Phase, batch: Batch, weights: list[Tensor]) -> dict[str, Tensor]:
        """One repetition of a phase: gradients of its terms, and a step of the networks that it moves."""
        for weight in weights:
            weight.grad = None
        found: dict[str, Tensor] = {}
        size = self.train.batch_size
        pieces = batch.pieces(size) if phase.reads and self.train.accumulate > 1 and size != "all" else [batch]
        for piece in pieces:
            share = len(piece) / len(batch) if len(pieces) > 1 else 1
            terms = self._terms(phase, piece)
            values = [term * share for term in terms.values()] if share != 1 else list(terms.values())
            loss = sum(values[1:], values[0])
            torch.autograd.backward(loss, inputs=weights)
            for name, value in zip(terms, values, strict=True):
                key = f"train/{phase.name}/{name}"
                found[key] = found[key] + value.detach() if key in found else value.detach()
        if len(pieces) > 1:
            for name in pieces[0].carried:
                batch.carry(name, torch.cat([piece.carried[name] for piece in pieces]))
        if self.train.clip_value is not None:
            nn.utils.clip_grad_value_(weights, self.train.clip_value)
        if self.train.clip_norm is not None:
            nn.utils.clip_grad_norm_(weights, self.train.clip_norm)
        for name in phase.moves:
            self.steps[name]()
        return found

    def _terms(self, phase: Phase, batch: Batch) -> Mapping[str, Tensor]:
        """What the objective gives. RunError where its code fails, such as on shapes that `needs` did not ask for."""
        try:
            return self.objective.terms(phase.name, self.call, batch, self.own_random)
        except Exception as error:
            if isinstance(error, DlxError) or self.train.deterministic:  # torch's own complaint is worded elsewhere
                raise
            kind, at = self.objective.kind, self.progress.step + 1
            why = f"{type(error).__name__}: {first_line(error)}"
            raise RunError(f"`{kind}` fails in its phase `{phase.name}` at step {at:,}: {why}") from error

    def _gathered(self, found: Mapping[str, Tensor]) -> Tensor:
        """The terms in the order of the first step; zero for one whose phase is no part of this step."""
        if not self.losses:
            self._name(tuple(found))
        due = [n for n, every in zip(self.losses, self.periods, strict=True) if self.progress.step % every == 0]
        if found.keys() != set(due):
            raise TypeError(f"{self.objective.kind} gave {list(found)}, and at first {due}")
        zero = torch.zeros((), device=self.compute.device)
        return torch.stack([found.get(name, zero) for name in self.losses])

    def _name(self, losses: tuple[str, ...]) -> None:
        every = {phase.name: phase.every for phase in self.phases}
        self.losses, self.periods = losses, tuple(every[name.split("/")[1]] for name in losses)

    def evaluate(self, name: str, part: DataPart) -> dict[str, float]:
        rng = torch.Generator().manual_seed(self.train.seed)
        means: dict[str, Mean] = {}
        self.module.eval()
        with torch.inference_mode():
            for batch in self.feed.evaluation(part, EVALUATION_BATCH):
                for key, value in self.objective.evaluate(self.call, batch, rng).items():
                    means.setdefault(key, Mean()).add(value, len(batch))
        self.module.train()
        return {f"{name}/{key}": float(mean.compute()) for key, mean in means.items()}

    def state(self) -> dict[str, Any]:
        return {**super().state(), "objective": self.own_random.get_state(), "losses": list(self.losses)}

    def load(self, state: Mapping[str, Any]) -> None:
        super().load(state)
        self.own_random.set_state(state["objective"])
        self._name(tuple(state["losses"]))
