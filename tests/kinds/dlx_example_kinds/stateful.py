"""A network that gives an answer and a state, which it is given again with the next batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from dlx.data.base import Field
from dlx.objectives import Call, Caller, Objective, Phase, Ports

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from dlx.data.batch import Batch


class Stateful(Objective):
    """The squared error of `answer`; the output `state` is carried to the next batch."""

    kind: ClassVar[str] = "stateful"

    def phases(self) -> Sequence[Phase]:
        return (Phase("learn", ("network",), ("input", "target", "state")),)

    def needs(self, fields: Mapping[str, Field], networks: Mapping[str, Ports]) -> Sequence[Call]:
        return (Call("network", {"input": "input", "state": "state"}),)

    def terms(self, phase: str, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        outputs = call("network", input=batch["input"], state=batch["state"])
        batch.carry("state", outputs["state"])
        return {"squared_error": (outputs["answer"] - batch["target"]).square().mean()}
