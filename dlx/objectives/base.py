"""The base class of objectives: the networks that a step calls and updates, the loss terms, and the metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

from ..data.base import Field
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
    """

    name: str
    moves: tuple[str, ...]
    reads: tuple[str, ...] = ("input",)
    times: int = 1
    every: int = 1


@dataclass(frozen=True)
class Call:
    """A call of a network: for each of its inputs the name of a field, or the shape of a tensor made by the
    objective.
    """

    network: str
    inputs: Mapping[str, str | Shape]


@dataclass(frozen=True)
class Ports:
    """Shapes of a network's inputs and outputs by name, without the batch axis."""

    inputs: Mapping[str, Shape]
    outputs: Mapping[str, Shape]


class Caller(Protocol):
    """Calls a network in the precision of the training: `call("generator", noise)` or `call("q", state=x)`.

    Returns the output tensor, or a mapping of tensors by name where the network names several outputs.
    """

    def __call__(self, network: str, /, *inputs: Tensor, **named: Tensor) -> Any: ...


OBJECTIVES: Registry[Objective] = FAMILIES["objective"]


@family(OBJECTIVES)
class Objective(Declared):
    """Base class of all objectives.

    A subclass has a `kind`, pydantic fields, and the methods `needs`, `phases` and `terms`; `evaluate` and `modes`
    where the metrics are others than the losses. Defining the class registers it. An objective never holds a module:
    it calls networks by name, so that precision and compilation stay outside.
    """

    required = ("needs", "phases", "terms")

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

    def informed(self, fields: Mapping[str, Field]) -> Self:
        """Return the objective with what its steps need to know of the fields of the data."""
        return self

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

    def output_shapes(self, fields: Mapping[str, Field]) -> Mapping[str, Shape]:
        """Return the shape that the output of a network must have, by the name of the network."""
        return {}

    def notes(self) -> tuple[str, ...]:
        """Return notes for the start of a training."""
        return ()

    def modes(self) -> dict[str, Mode]:
        """Return the name of each metric, and whether smaller ("min") or larger ("max") values are better."""
        return {f"{phase.name}/loss": "min" for phase in self.phases()}
