"""What objectives share that learn from pictures without labels: a task that the pictures themselves pose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import pydantic

from ..data.base import Field
from ..errors import DlxError
from ..lazy import F, torch
from ..metrics import Mode
from ..shapes import Shape
from .base import Call, Caller, Objective, Phase, Ports

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.batch import Batch

NETWORK = "network"


class SelfSupervised(Objective):
    """Base class: one phase that moves `network`, which takes one input made of a field of the data."""

    field: str = pydantic.Field("input", description="the field of the data that it learns from")
    ranks: ClassVar[tuple[int, ...]] = (3,)
    """Numbers of axes that an example may have."""

    @classmethod
    def first_field(cls) -> str | None:
        return next((name for name in cls.model_fields if name != "field"), "field")

    def phases(self) -> Sequence[Phase]:
        return [Phase("train", (NETWORK,), (self.field,))]

    def needs(self, fields: Mapping[str, Field], networks: Mapping[str, Ports]) -> Sequence[Call]:
        example, network = fields[self.field].shape, networks[NETWORK]
        if example.dtype != "float" or example.rank not in self.ranks:
            axes = "pictures (channels, height, width)" if self.ranks == (3,) else "examples of floats"
            raise DlxError(f"{self.kind} takes {axes}, and `{self.field}` is {example} of {example.dtype}")
        if len(network.outputs) != 1:
            raise self._of_one(network)
        return [Call(NETWORK, self.network_inputs(example, network), times=self.times)]

    @property
    def times(self) -> int:
        """How many samples the network takes for each example."""
        return 1

    def _of_one(self, network: Ports) -> DlxError:
        counts = f"{len(network.inputs)} inputs and {len(network.outputs)} outputs"
        hint = "Keep the one to train: `outputs: NAME`."
        return DlxError(f"{self.kind} takes a network with one input and one output, and it has {counts}", hint=hint)

    def network_inputs(self, example: Shape, network: Ports) -> Mapping[str, Shape]:
        """Return the shape of each input of the network, made of an example. DlxError where none can be made."""
        if len(network.inputs) != 1:
            raise self._of_one(network)
        return dict.fromkeys(network.inputs, self.network_input(example))

    def network_input(self, example: Shape) -> Shape:
        """Return the shape of what the network takes, made of an example. DlxError where none can be made."""
        return example


class PretextClassification(SelfSupervised):
    """Base class of tasks whose answer is one of several classes: the cross entropy of logits (N, classes)."""

    views: ClassVar[int] = 1
    outputs_follow: ClassVar[str] = ""

    def classes(self) -> int:
        """Return the number of classes."""
        raise TypeError(f"{type(self).__name__} has no classes()")

    def answered(self, call: Caller, batch: Batch, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return logits (N, classes) of the task that a batch poses, and the right classes (N,)."""
        raise TypeError(f"{type(self).__name__} has no answered()")

    def output_shapes(self, fields: Mapping[str, Field]) -> Mapping[str, Shape]:
        return {NETWORK: Shape((self.classes(),))}

    def terms(self, phase: str, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        return {"cross_entropy": F.cross_entropy(*self.answered(call, batch, rng))}

    def evaluate(self, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        logits, right = self.answered(call, batch, rng)
        accuracy = (logits.argmax(1) == right).float().mean()
        return {"loss": F.cross_entropy(logits, right), "accuracy": accuracy, "error": 1 - accuracy}

    def modes(self) -> dict[str, Mode]:
        return {"loss": "min", "accuracy": "max", "error": "min"}
