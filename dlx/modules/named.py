"""An fx graph with names of its inputs and outputs, for the ONNX export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import fx


@dataclass(frozen=True, slots=True)
class Named:
    """Name of an input or output of a network."""

    name: str

    def debugName(self) -> str:  # noqa: N802 - as TorchScript's values have it
        return self.name


class NamedGraph(fx.Graph):
    """An fx.Graph whose inputs and outputs have names, as those of TorchScript's graphs do.

    `torch.onnx.export` expects such a graph of any module where it is given `dynamic_axes`.
    """

    named_outputs: Sequence[str] = ()

    def inputs(self) -> list[Named]:
        return [Named(str(node.target)) for node in self.nodes if node.op == "placeholder"]

    def outputs(self) -> list[Named]:
        return [Named(name) for name in self.named_outputs]

    def __deepcopy__(self, memo: Any = None) -> fx.Graph:
        copied: fx.Graph = super().__deepcopy__(memo)
        copied.__class__ = NamedGraph
        copied.named_outputs = self.named_outputs  # type: ignore[attr-defined]
        return copied
