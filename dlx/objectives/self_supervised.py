"""What objectives share that learn from pictures without labels: a task that the pictures themselves pose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import pydantic

from ..data.base import Field
from ..errors import DlxError
from ..shapes import Shape
from .base import Call, Objective, Phase, Ports

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
        if len(network.inputs) != 1 or len(network.outputs) != 1:
            counts = f"{len(network.inputs)} inputs and {len(network.outputs)} outputs"
            hint = "Keep the one to train: `outputs: NAME`."
            raise DlxError(
                f"{self.kind} takes a network with one input and one output, and it has {counts}", hint=hint
            )
        return [Call(NETWORK, dict.fromkeys(network.inputs, self.network_input(example)), times=self.times)]

    @property
    def times(self) -> int:
        """How many samples the network takes for each example."""
        return 1

    def network_input(self, example: Shape) -> Shape:
        """Return the shape of what the network takes, made of an example. DlxError where none can be made."""
        return example
