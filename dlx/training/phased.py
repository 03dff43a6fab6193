"""Learner of several networks in the phases of an objective: each calls networks and updates some of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ..data import Dataset, Sets
from ..data.batch import Batch
from ..errors import Problem, with_article
from ..graph import Graphs
from ..graph.phase_plan import span
from ..lazy import torch
from ..metrics import Mean
from ..objectives import Objective, Phase, learned
from ..objectives.learned import SCOPE
from ..optim import WeightGroup
from ..schedules import Timeline
from ..spec import Experiment, Train, objective_of
from ..spec.sections.networks import ONE
from . import parameter_groups
from .batches.on_device import on_device
from .compute import Compute
from .learner import EVALUATION_BATCH, Learner, Update
from .phase_gradients import PhaseGradients
from .replay.phases import traced_phase

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch import device as Device

    from .batches.data_part import DataPart


T = TypeVar("T")


def without_epochs(experiment: Experiment, sets: Sets) -> list[Problem]:
    """Return the problem of `epochs` for data that has none, as its feed tells."""
    data, train = experiment.data, experiment.train
    if data is None or train is None or train.steps is not None or type(data).feed is Dataset.feed:
        return []
    feed = data.feed(on_device(sets, torch.device("cpu"))["train"], train)
    if feed is None or feed.batches is not None:
        return []
    message = f"`epochs` never end: the data `{data.kind}` has none ({experiment.place('data')})"
    return [Problem(message, "Write `steps: N`.", experiment.place("train", "epochs"), "train.epochs")]


def problems(experiment: Experiment, graphs: Graphs) -> list[Problem]:
    """Return the problems of training these networks by the phases of the objective."""
    objective, train = objective_of(experiment), experiment.train
    place, trained_networks = (
        experiment.place("objective"),
        dict.fromkeys(n for p in objective.phases() for n in p.moves if n != SCOPE),
    )
    found = []
    names = ", ".join(f"`{name}`" for name in graphs)
    for name in trained_networks:
        if name not in graphs:
            message = f"`{objective.kind}` trains the network `{name}`, and the spec has {names}"
            found.append(
                Problem(message, f"Write it under `networks`: `{name}: {{layers: [...]}}`.", place, "objective")
            )
    if train is None:
        return found
    at, path = experiment.place("train", "optimizer"), "train.optimizer"
    for name in trained_networks if train.optimizers else ():
        if name not in train.optimizers and not (
            name in graphs and graphs[name].borrowed and not graphs[name].params
        ):
            message = f"there is no optimizer for the network `{name}`, which `{objective.kind}` trains"
            found.append(Problem(message, f"Write `optimizer: {{{name}: adam}}` beside the others.", at, path))
    for name in trained_networks if train.optimizers else ():
        if name in train.optimizers and name in graphs and not graphs[name].params and graphs[name].borrowed:
            owner = next(iter(graphs[name].borrowed))
            message = f"the network `{name}` has an optimizer, and runs the weights of `{owner}`, which has another"
            mark = experiment.place("train", "optimizer", name)
            found.append(Problem(message, f"Leave it out: that of `{owner}` moves them.", mark, f"{path}.{name}"))
    for field in ("optimizer", "schedule", "average"):
        for name in (name for name in train.named(field) if name not in {*trained_networks, SCOPE}):
            message = f"the network `{name}` has {with_article(field)}, and no phase of `{objective.kind}` trains it"
            mark = experiment.place("train", field, name)
            found.append(Problem(message, "Leave it out.", mark, f"train.{field}.{name}"))
    return [*found, *_unsupported(experiment, objective, train, list(trained_networks))]


def _unsupported(
    experiment: Experiment, objective: Objective, train: Train, trained_networks: list[str]
) -> Iterator[Problem]:
    """Yield a problem for each field of `train` that phases do not support."""
    asks = [one.optimizer.kind for name in trained_networks if (one := train.of(name)).optimizer.takes != "gradient"]
    renews = [one.average.kind for name in trained_networks if (one := train.of(name)).average and one.average.renews]
    fields = {
        "optimizer": (bool(asks), f"{', '.join(asks)} looks at the loss more than once a step", "Take another one."),
        "average": (bool(renews), f"{', '.join(renews)} computes the statistics of batch norms anew", "Take `ema`."),
        "precision": (train.precision == "fp16", "fp16 scales the gradients of one loss", "Take `bf16`."),
        "compile": (train.compile, "`compile: true` is for one network", "Leave it out."),
        "detect_anomaly": (train.detect_anomaly, "`detect_anomaly` is for one network", "Leave it out."),
        "augment": (
            bool(train.augment) and not objective.views,
            "`augment` is for inputs with targets",
            "Leave it out.",
        ),
        "accumulate": (
            objective.compares and train.accumulate > 1,
            "its loss compares all examples of a batch, which `accumulate` cuts in pieces",
            "Raise `batch_size` instead.",
        ),
        "test_time": (train.test_time is not None, "`test_time` is for inputs with targets", "Leave it out."),
        "batch_schedule": (train.batch_schedule is not None, "batches that grow are for one phase", "Leave it out."),
        "recompute_statistics": (
            bool(train.recompute_statistics),
            "it runs one network on its inputs",
            "Leave it out.",
        ),
    }
    for name, (applies, reason, hint) in fields.items():
        if applies:
            message = f"{reason}, and `{objective.kind}` has phases"
            yield Problem(message, hint, experiment.place("train", name), f"train.{name}")


class Clip:
    """Function that clips weights to -bound..bound."""

    def __init__(self, weights: Sequence[Tensor], bound: float) -> None:
        self.weights, self.bound = weights, bound

    def __call__(self) -> None:
        with torch.no_grad():
            for weight in self.weights:
                weight.clamp_(-self.bound, self.bound)


def _moved(
    phases: Sequence[Phase], train: Train, trained: Collection[str], has_parameters: bool
) -> dict[str, tuple[str, ...]]:
    """Return the names of the optimizers that step in each phase, by the name of the phase.

    `trained` are the networks of which some weight is trained. Parameters of the objective are moved by phases that
    name `objective`, else by those that move the first network. They are in its optimizer, but where there is one
    called `objective`, or where phases name them.
    """
    there = {*trained, *([SCOPE] if has_parameters else [])}
    moves = {phase.name: tuple(name for name in phase.moves if name in there) for phase in phases}
    if not has_parameters or SCOPE not in train.optimizers or any(SCOPE in names for names in moves.values()):
        return moves
    first = next(name for names in moves.values() for name in names)
    return {name: (*names, *([SCOPE] if first in names else [])) for name, names in moves.items()}


def _on_device(value: Any, device: Device) -> Any:
    """Return a saved value with its tensors on a device."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: _on_device(one, device) for key, one in value.items()}
    return type(value)(_on_device(one, device) for one in value) if isinstance(value, list | tuple) else value


class NetworkCaller:
    """Calls networks by name, in the precision and on the device of the training."""

    def __init__(self, compute: Compute, networks: Mapping[str, nn.Module], parameters: Mapping[str, Tensor]) -> None:
        from ..modules.invertible import both_ways

        self.compute, self.parameters = compute, parameters
        self.calls: dict[str, Callable[..., Any]] = {
            name: both_ways(compute.of(one), one) for name, one in networks.items()
        }

    def __call__(self, network: str, /, *inputs: Tensor, **named: Tensor) -> Any:
        to = self.compute.device
        return self.calls[network](*(x.to(to) for x in inputs), **{name: x.to(to) for name, x in named.items()})


class Phased(Learner):
    """Learner that takes the batches of a step from the feed, phase by phase."""

    def __init__(self, *args: Any) -> None:
        from ..modules.auxiliary import AuxiliaryLosses

        self.rng = torch.Generator()
        """Generator that the objective draws from, on the CPU."""
        networks, module, objective, train, *rest = args
        self.learned = learned.held_by(module)
        """The parameters of the objective."""
        trained = {name for name, one in networks.items() if any(p.requires_grad for p in one.parameters())}
        self.moving = _moved(objective.phases(), train, trained, self.learned is not None)
        """The optimizers that step in each phase, by the name of the phase."""
        super().__init__(networks, module, objective, train, *rest)
        # a copy of its own: what its steps keep is that of one training, and not of its evaluations
        self.objective, _ = self.values.of_objective(objective.model_copy(deep=True))
        _, self.evaluated = self.values.of_objective(objective)
        self.phases = tuple(self.objective.phases())
        self.rng.manual_seed(self.train.seed)
        self.call = NetworkCaller(self.compute, self.networks, learned.parameters_of(module))
        self.auxiliary = AuxiliaryLosses(self.module)
        self.losses = self.periods = ()
        self.zero = torch.zeros((), device=self.compute.device)
        self.gradients: list[PhaseGradients] = []
        """Of each phase, the function that leaves its gradients."""
        self.moves: list[list[Callable[[], Any]]] = []
        """Of each phase, the functions that move its weights then."""
        self.ways: dict[str, tuple[str, str]] = {}
        """Of each phase, the kind of its step and the reason for it."""

    def trained_networks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for names in self.moving.values() for name in names))

    def train_of(self, name: str) -> Train:
        # parameters of the objective without an optimizer of their own have one as the first network has it
        first = next(iter(self.trained_networks()))
        return self.train.of(first if name == SCOPE and name not in self.train.optimizers else name)

    def weight_groups(self, name: str, train: Train, waits: Mapping[Tensor, int]) -> list[WeightGroup]:
        if self.learned is None:
            return super().weight_groups(name, train, waits)
        if name == SCOPE:
            return parameter_groups.split(self.learned, train, f"{SCOPE}/", waits)
        alone, own = name == ONE, SCOPE in self.trained_networks()
        if alone:
            without = tuple(self.learned.parameters()) if own else ()
            return parameter_groups.split(self.networks[name], train, "", waits, without)
        if own or name != self.trained_networks()[0]:
            return super().weight_groups(name, train, waits)
        both = torch.nn.ModuleDict({name: self.networks[name], SCOPE: self.learned})
        return parameter_groups.split(both, train, "", waits)

    def plan_timeline(self) -> Timeline:
        return span(self.objective.phases(), self.train, self.feed.batches)

    def weights_of_phases(self) -> list[list[Tensor]]:
        """Return the weights that each phase moves."""
        groups = {name: scheduled.optimizer.param_groups for name, scheduled in self.optimizers.items()}
        moving = [self.moving[phase.name] for phase in self.phases]
        return [
            [p for name in names for g in groups[name] for p in g["params"] if p.requires_grad] for names in moving
        ]

    def gradients_of_phases(self) -> list[PhaseGradients]:
        """Return what computes the gradients of each phase."""
        return [PhaseGradients(self, *one) for one in zip(self.phases, self.weights_of_phases(), strict=True)]

    def build_phases(self) -> None:
        """Build what computes the gradients of each phase, and what moves its weights then."""
        built = {name: self.fast_step(scheduled.optimizer) for name, scheduled in self.optimizers.items()}
        steps = {name: self.pruning.holding(one) for name, one in built.items()}
        self.gradients = self.gradients_of_phases()
        self.moves = [
            [
                *(steps[name] for name in self.moving[one.phase.name]),
                *([] if one.phase.clip is None else [Clip(one.weights, one.phase.clip)]),
            ]
            for one in self.gradients
        ]

    def repetitions(self, take: Callable[[str], T]) -> Iterator[tuple[int, T | None]]:
        """Yield the number of each phase of the next step, once a repetition, with what `take` gives for its batch.

        A repeated phase takes a new batch each time, those that run once share theirs; None where there is none yet.
        """
        taken: T | None = None
        for number, phase in enumerate(self.phases):
            if self.progress.step % phase.every:
                continue
            for _ in range(phase.times):
                if phase.reads and (taken is None or phase.times > 1):
                    taken = take(phase.name)
                yield number, taken

    def build_update(self) -> Update:
        self.build_phases()
        quick, moves = [traced_phase(self, one) for one in self.gradients], self.moves

        def step(_: object) -> Tensor:
            found: dict[int, Sequence[Tensor]] = {}
            for number, batch in self.repetitions(self.feed.next):
                found[number] = quick[number](Batch({}) if batch is None else batch)
                for move in moves[number]:
                    move()
            return torch.stack(self.all_terms(found))

        return step

    def all_terms(self, found: Mapping[int, Sequence[Tensor]]) -> list[Tensor]:
        """Return the terms of all phases by those of the phases of a step; zero for one that is no part of it."""
        self.name_losses()
        terms: list[Tensor] = []
        for number, one in enumerate(self.gradients):
            terms += found[number] if number in found else [self.zero] * len(one.names)
        return terms

    def name_losses(self) -> None:
        """Name the losses after the first step."""
        if not self.losses:
            self._set_loss_names(tuple(name for one in self.gradients for name in one.losses))

    def note_way(self, phase: str, way: str, because: str) -> None:
        """Set how a phase takes its steps, for the lock file."""
        self.ways[phase] = way, because
        kinds = dict.fromkeys(kind for kind, _ in self.ways.values())
        reasons = dict.fromkeys(reason for _, reason in self.ways.values())
        named = "; ".join(f"{name}: {reason}" for name, (_, reason) in self.ways.items())
        step = "partly replayed" if len(kinds) > 1 else way
        self.way = {"step": step, "because": because if len(reasons) == 1 else named}

    def _set_loss_names(self, losses: tuple[str, ...]) -> None:
        every = {phase.name: phase.every for phase in self.phases}
        self.losses, self.periods = losses, tuple(every[name.split("/")[1]] for name in losses)

    def evaluate(self, name: str, part: DataPart) -> dict[str, float]:
        rng = torch.Generator().manual_seed(self.train.seed)  # every evaluation draws the same
        # with nothing kept of steps, as `dlx evaluate` has it, and nothing kept for them
        objective = self.evaluated.model_copy(deep=True) if self.objective.state() else self.evaluated
        means: dict[str, Mean] = {}
        self.module.eval()
        with torch.inference_mode():
            for batch in self.feed.evaluation(part, EVALUATION_BATCH):
                if not (count := objective.counted(batch)):
                    continue
                for key, value in objective.evaluate(self.call, batch, rng).items():
                    mean, over = value if isinstance(value, tuple) else (value, count)
                    means.setdefault(key, Mean()).add(mean, over)
        self.set_training_mode()
        found = objective.measured({key: float(mean.compute()) for key, mean in means.items()})
        return {f"{name}/{key}": value for key, value in found.items()}

    def state(self) -> dict[str, Any]:
        memory = {"carried_over": dict(self.objective.state())}
        return {**super().state(), "objective": self.rng.get_state(), "losses": list(self.losses), **memory}

    def load(self, state: Mapping[str, Any]) -> None:
        super().load(state)
        self.rng.set_state(state["objective"])
        if stored := state.get("carried_over"):
            self.objective.load(_on_device(stored, self.compute.device))
        self._set_loss_names(tuple(state["losses"]))
