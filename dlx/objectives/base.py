"""The base class of objectives: the networks that a step calls and updates, the loss terms, and the metrics."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, Self

from ..data.base import Field
from ..errors import Problem
from ..metrics import Mode
from ..registry import FAMILIES, Declared, Registry, family
from ..shapes import Shape

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..data.batch import Batch


@dataclass(frozen=True)
class Phase:
    """A part of a training step.

    The phases of a step share one batch. A phase with `times` above 1 is repeated, each time on a new batch, and
    later phases get the last of these. A phase with `every` = n runs in each n-th step, beginning with the first.

    Attributes:
        name: name in the metrics, such as "critic".
        moves: names of the networks whose weights the phase updates.
        reads: names of the fields of the batch that it reads.
        times: repetitions in a step.
        every: number of steps from one run of the phase to the next.
        clip: largest absolute value of those weights after each update, to which they are clipped; None for no bound.
    """

    name: str
    moves: tuple[str, ...]
    reads: tuple[str, ...] = ("input",)
    times: int = 1
    every: int = 1
    clip: float | None = None


EVALUATION: Final = "evaluation"
"""In place of the phases of a call: it is one of evaluations, and of no phase."""


@dataclass(frozen=True)
class Call:
    """A call of a network in a step.

    Attributes:
        network: its name.
        inputs: for each of its inputs the name of a field, or the shape of a tensor that the objective makes; an
            output of another network is the shape of `Ports` itself, so that a mistake tells both networks.
        phases: names of the phases that have this call, or `EVALUATION` for one of evaluations alone; empty for
            each of the phases.
        gradient: whether gradients pass through it, so that its activations are kept.
        times: samples that it takes for each example of the batch, such as two views.
    """

    network: str
    inputs: Mapping[str, str | Shape]
    phases: tuple[str, ...] = ()
    gradient: bool = True
    times: int = 1

    def as_json(self) -> dict[str, Any]:
        """Return the network, and for each input the field or the shape."""
        inputs = {name: what if isinstance(what, str) else list(what) for name, what in self.inputs.items()}
        more = ({} if self.gradient else {"gradient": False}) | ({"times": self.times} if self.times > 1 else {})
        return {"network": self.network, "inputs": inputs, **more}


@dataclass(frozen=True)
class Ports:
    """Shapes of a network's inputs and outputs by name, without the batch axis."""

    inputs: Mapping[str, Shape]
    outputs: Mapping[str, Shape]


@dataclass(frozen=True)
class Sheet:
    """Values of a sheet of pictures or points (n, *shape), or (rows, columns, *shape), and a class of each (n,)."""

    values: Tensor
    classes: Tensor | None = None


class Caller(Protocol):
    """Calls a network in the precision of the training: `call("generator", noise)` or `call("q", state=x)`.

    Returns the output tensor, or a mapping of tensors by name where the network names several outputs.
    """

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        """The parameters of the objective by name, on the device of the training."""
        ...

    def __call__(self, network: str, /, *inputs: Tensor, **named: Tensor) -> Any: ...


Values = float | Sequence["Values"]
"""A number, or nested lists of numbers in rows of equal length."""


OBJECTIVES: Registry[Objective] = FAMILIES["objective"]


def views_of(field: str) -> str:
    """Return the name in a batch of the views of a field, (N, views, *shape)."""
    return f"{field}/views"


@family(OBJECTIVES)
class Objective(Declared):
    """Base class of all objectives.

    A subclass has a `kind`, pydantic fields, and the methods `needs`, `phases` and `terms`; `evaluate` and `modes`
    where the metrics are others than the losses. Defining the class registers it. An objective never holds a module:
    it calls networks by name, so that precision and compilation stay outside.
    """

    required = ("needs", "phases", "terms")

    views: ClassVar[int] = 0
    """How often `train.augment` changes each example: 1 changes the main input, in training alone; several, each with
    draws of its own, are in the batch beside it as `views_of(field)`, in evaluations too; 0 is for none."""
    outputs_follow: ClassVar[str] = "classes"
    """What of the data `output_shapes` follow from, as a word for errors; empty where from nothing of it."""
    also_measured: ClassVar[tuple[str, ...]] = ()
    """Metrics beside those of `modes`, which some data or fields give: nothing follows them."""
    compares: ClassVar[bool] = False
    """Whether the loss compares the examples of a batch, so that it is not the mean of the losses of pieces."""

    def of_networks(self, names: Sequence[str]) -> Self:
        """Return the objective as it trains networks of these names, where it can do with several sets of them."""
        return self

    def needs(self, fields: Mapping[str, Field], networks: Mapping[str, Ports]) -> Sequence[Call]:
        """Return the calls of a step, computed without torch.

        Arguments:
            fields: fields of the batch by name.
            networks: input and output shapes of the networks by name.

        Raises:
            KeyError: a required network is missing.
        """
        raise TypeError(f"{type(self).__name__} has no needs()")

    def phases(self) -> Sequence[Phase]:
        """Return the phases of a step in their order."""
        raise TypeError(f"{type(self).__name__} has no phases()")

    def terms(self, phase: str, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        """Return the scalar loss terms of a phase by name; their sum is minimised.

        Arguments:
            phase: name of the phase.
            call: calls a network; its inputs may be on any device.
            batch: the fields of some examples.
            rng: generator on the CPU for random numbers of the objective, saved with the training state.
        """
        raise TypeError(f"{type(self).__name__} has no terms()")

    def informed(self, fields: Mapping[str, Field], networks: Mapping[str, Ports]) -> Self:
        """Return the objective with what its steps need to know of the fields of the data and of the networks."""
        return self

    def parameters(self) -> Mapping[str, Values]:
        """Return the first values of what the objective learns beside the weights, by name; lists give shapes.

        They are parameters `objective/NAME`, which `call.parameters` has in each phase. Phases that name `objective`
        in `moves` update them, else those that update the network that the first phase names first. Names follow
        from the fields of the objective alone, and numbers of values from `informed` too.
        """
        return {}

    def state(self) -> Mapping[str, Any]:
        """Return what steps keep for later steps and is no weight, such as a pool of images, by name.

        Values are tensors, numbers, texts, None, and lists and mappings of these. Each training has a copy of the
        objective of its own, whose private attributes may hold them. Evaluations begin with nothing kept, and keep
        nothing for later steps.
        """
        return {}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned; its tensors are on the device of the training."""

    def evaluate(
        self, call: Caller, batch: Batch, rng: torch.Generator
    ) -> Mapping[str, Tensor | tuple[Tensor, Tensor]]:
        """Return the metrics of a batch by name, each a mean over its examples; by default the loss of each phase.

        A pair is a mean, and the number of values that it is over where they are not the examples. Networks are in
        evaluation mode. `rng` has the same state at the start of each evaluation.
        """
        found = {}
        for phase in self.phases():
            values = list(self.terms(phase.name, call, batch, rng).values())
            found[f"{phase.name}/loss"] = sum(values[1:], values[0])
        return found

    def measured(self, means: dict[str, float]) -> dict[str, float]:
        """Return the metrics of a part from the means over all of its batches."""
        return means

    def counted(self, batch: Batch) -> int:
        """Return how many examples of a batch its metrics are means over; a batch of none is left out."""
        return len(batch)

    def answering(self) -> tuple[str, Objective] | None:
        """Return the network that answers new inputs, and the supervised objective by which its outputs are read.

        None where no network answers.
        """
        return None

    @property
    def answers_inputs(self) -> bool:
        """Whether the objective answers new inputs itself, by `answers`."""
        return type(self).answers is not Objective.answers

    def answers(self, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        """Return what is answered of new inputs by name, (N, ...) each; `score` is larger the odder an input is.

        `batch` has the input fields alone. Networks are in evaluation mode, without gradients; `rng` has the same
        state for each batch.
        """
        raise TypeError(f"{type(self).__name__} has no answers()")

    def output_shapes(self, fields: Mapping[str, Field]) -> Mapping[str, Shape]:
        """Return the shape that the output of a network must have, by the name of the network."""
        return {}

    def takes_logits(self) -> Mapping[str, str]:
        """Return the networks whose output is taken for logits, with the name that it has beside others."""
        return {}

    def begin(self, call: Caller, batch: Batch, rng: torch.Generator) -> None:
        """Set what networks begin with from data, by some examples of the training part; not where one goes on.

        They are in evaluation mode and without gradients. `rng` is of these draws alone.
        """

    def check_values(self, batch: Batch) -> Problem | None:
        """Return what is wrong with the values of examples, such as those beyond 0 and 1; None for nothing.

        The training does not start where there is a problem, and new inputs like it are not answered.
        """
        return None

    def cautions(self, layers: Mapping[str, Collection[str]]) -> Mapping[str, str]:
        """Return sentences on networks that fit and are doubtful all the same, by network.

        `layers` has the kinds of the layers of each network.
        """
        return {}

    def check_networks(self, call: Caller, batch: Batch) -> Problem | None:
        """Return what is wrong with networks as they begin, measured on some examples; None for nothing.

        They are in evaluation mode and without gradients. The training does not start where there is a problem.
        """
        return None

    def notes(self) -> tuple[str, ...]:
        """Return notes for the start of a training."""
        return ()

    @property
    def makes_samples(self) -> bool:
        """Whether the objective makes samples or pictures."""
        own, base = type(self), Objective
        return any(getattr(own, name) is not getattr(base, name) for name in ("sample", "latents", "pictures"))

    @property
    def condition(self) -> str | None:
        """The field of the data whose class a sample may be asked for; None where there is none."""
        return None

    def latents(self, n: int, rng: torch.Generator) -> Tensor | None:
        """Draw latents (n, *shape), which `generate` makes samples of; None where samples come about otherwise."""
        return None

    def generate(self, call: Caller, latents: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return a sample for each latent (n, *shape), of the classes `condition` (n,) where they are asked for."""
        raise TypeError(f"{type(self).__name__} has no generate()")

    def latents_of(self, call: Caller, batch: Batch) -> Tensor | None:
        """Return the latents of examples (N, *shape); None where the networks tell none."""
        return None

    def sample(self, call: Caller, n: int, rng: torch.Generator, condition: Tensor | None = None) -> Tensor | None:
        """Return samples (n, *shape); None where the objective makes none. By default of `latents`, by `generate`.

        Networks are in evaluation mode, without gradients. `rng` is the only source of random numbers, so that a
        training stays the same to the bit with samples and without. `condition` has the class of each sample (n,).
        """
        latents = self.latents(n, rng)
        return None if latents is None else self.generate(call, latents, condition)

    @property
    def completes(self) -> bool:
        """Whether the objective fills in what is missing in examples."""
        return type(self).complete is not Objective.complete

    def complete(self, call: Caller, known: Tensor, rng: torch.Generator, condition: Tensor | None = None) -> Tensor:
        """Return examples (n, *shape) of which what is missing, NaN, is drawn given the rest.

        DlxError for values that no example can have.
        """
        raise TypeError(f"{type(self).__name__} has no complete()")

    @property
    def sides(self) -> Mapping[str, str]:
        """For each field that `translate` turns examples into the field that those are of; empty for none."""
        return {}

    def translate(self, call: Caller, x: Tensor, to: str) -> Tensor:
        """Return what examples (n, *shape) become as such of the field `to`, one of `sides`."""
        raise TypeError(f"{type(self).__name__} has no translate()")

    def pictures(self, call: Caller, batch: Batch, n: int, rng: torch.Generator) -> Mapping[str, Tensor | Sheet]:
        """Return what is shown of a training at its stages: sheets by name; by default `n` samples.

        Shapes: (n, *shape), or (rows, columns, *shape). Images (1 or 3, H, W) become a PNG, points (2,) a scatter
        with the data beside them, single values (1,) a histogram, and all else an .npz file. `batch` has up to `n`
        examples of the validation part, of the training part where there is none.
        """
        made = self.sample(call, n, rng)
        return {} if made is None else {"samples": made}

    def warnings(self, measured: Mapping[str, float]) -> Sequence[str]:
        """Return sentences on a training that ended in what it should not, such as samples that are all the same.

        `measured` are the final metrics of the test part, else of validation or training, without the part's name.
        They are finite: what is not is reported of every objective.
        """
        return ()

    @property
    def main_metric(self) -> str | None:
        """The metric that early stopping, best checkpoints, plateau and sweeps follow where the spec names none.

        It is the first of `modes`; None where those are the losses of several phases.
        """
        if type(self).modes is Objective.modes and len(self.phases()) > 1:
            return None
        return next(iter(self.modes()), None)

    def modes(self) -> dict[str, Mode]:
        """Return the name of each metric, and whether smaller ("min") or larger ("max") values are better."""
        return {f"{phase.name}/loss": "min" for phase in self.phases()}
