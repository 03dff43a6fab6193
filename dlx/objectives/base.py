"""The root of all objectives: which networks a step calls and moves, what it makes small, and what is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

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
    """One part of a step: the networks whose weights it moves, and the fields of the batch that it reads.

    The phases of a step see the same batch. A phase with `times` above 1 is repeated, each time on a new batch, and
    those after it see the last of them. With `every` it is part of each n-th step only, the first one among them.
    """

    name: str
    moves: tuple[str, ...]
    reads: tuple[str, ...] = ("input",)
    times: int = 1
    every: int = 1


@dataclass(frozen=True)
class Call:
    """A call of a network: for each of its inputs the name of a field, or the shape of what the objective makes."""

    network: str
    inputs: Mapping[str, str | Shape]


@dataclass(frozen=True)
class Ports:
    """The shapes of a network's inputs and outputs, of one example."""

    inputs: Mapping[str, Shape]
    outputs: Mapping[str, Shape]


class Caller(Protocol):
    """Runs a network in the precision of the training: `call("generator", noise)` or `call("q", state=x)`.

    Gives the output, or a mapping of them where the network names several.
    """

    def __call__(self, network: str, /, *inputs: Tensor, **named: Tensor) -> Any: ...


OBJECTIVES: Registry[Objective] = FAMILIES["objective"]


@family(OBJECTIVES)
class Objective(Declared):
    """The root of all objectives."""

    def needs(self, fields: Mapping[str, Field], networks: Mapping[str, Ports]) -> Sequence[Call]:
        """The calls of a step, known without torch. KeyError where a network that it wants is not there."""
        raise TypeError(f"{type(self).__name__} has no needs()")

    def phases(self) -> Sequence[Phase]:
        """The parts of a step, in their order."""
        raise TypeError(f"{type(self).__name__} has no phases()")

    def terms(self, phase: str, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        """Scalars by name whose sum the phase makes small. `rng` is a generator on the CPU for what is drawn here.

        `call` takes tensors of any device to that of the training.
        """
        raise TypeError(f"{type(self).__name__} has no terms()")

    def evaluate(self, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        """The metrics of a batch, means over its examples, networks in evaluation: by default the loss of each phase.

        `rng` starts from the same state at each evaluation.
        """
        found = {}
        for phase in self.phases():
            values = list(self.terms(phase.name, call, batch, rng).values())
            found[f"{phase.name}/loss"] = sum(values[1:], values[0])
        return found

    def modes(self) -> dict[str, Mode]:
        """All that an evaluation measures, and whether less or more of it is better."""
        return {f"{phase.name}/loss": "min" for phase in self.phases()}
