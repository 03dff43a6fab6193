"""The plan of a network: nodes in running order, what each costs and sees, and the totals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from ..errors import Mark, Problem
from ..layers import Layer, Plan
from ..shapes import ReceptiveField, Shape, UnknownReceptiveField
from .receptive_field.axes import Span

if TYPE_CHECKING:
    from ..data.base import Use

AnyReceptiveField = ReceptiveField | UnknownReceptiveField | Literal["global", "nothing"] | None
"""A receptive field; one that cannot be followed; everything; nothing, as a parameter does; or none: one value of a
vector."""


@dataclass(frozen=True, slots=True)
class Field:
    """The receptive field of a value in one input: a span per axis of it, or of the shape `basis` of a vector."""

    basis: tuple[int, ...]
    spans: tuple[Span, ...]


Sight = Mapping[str, Field | UnknownReceptiveField]
"""The receptive field of a value in each input that it depends on."""


@dataclass(slots=True)
class Wire:
    """A value on its way: the node it comes from, its shape (None behind a mistake), and what it sees."""

    name: str
    shape: Shape | None
    sight: Sight = field(default_factory=dict)
    raw: bool = False
    """Still the network's input, at most in another shape or order."""


@dataclass(slots=True)
class LayerNode:
    """One layer in its place. `name` is its full name: scopes and blocks before a `/`."""

    name: str
    kind: str
    layer: Layer
    inputs: tuple[str, ...]
    arriving: tuple[Shape, ...]
    plan: Plan
    sight: Sight
    mark: Mark
    owner: str = ""
    """Another node whose weights this one runs (`share`)."""
    tied: str = ""
    """Another node whose weight this one runs (`tie`): transposed, or an embedding's as it is."""
    values: Mapping[str, Any] = field(default_factory=dict)
    frozen: bool = False
    fields: Mapping[str, AnyReceptiveField] = field(default_factory=dict)
    """The receptive field of each input that it depends on, in the order of the inputs."""
    main: str = ""
    """The first of them that has positions, or else the first."""
    moving: tuple[str, ...] = ()
    """The inputs that its entries still stand for different positions of."""

    @property
    def shape(self) -> Shape:
        return self.plan.shape

    @property
    def receptive_field(self) -> AnyReceptiveField:
        """The receptive field of the main input."""
        return self.fields[self.main] if self.main else "nothing"

    @property
    def field(self) -> str:
        """The receptive field in a word: one for each input, those that are alike once."""
        distinct = dict.fromkeys(str(seen) for seen in self.fields.values() if seen is not None)
        return ", ".join(distinct) if self.fields else "nothing"

    @property
    def params(self) -> int:
        """Learned values that are this node's own."""
        return 0 if self.owner else self.plan.params

    @property
    def buffers(self) -> int:
        return 0 if self.owner else self.plan.buffered

    @property
    def activation_bytes(self) -> int:
        """Memory of the output for one sample; nothing for a view of the input."""
        return 0 if self.plan.view else self.plan.shape.bytes

    @property
    def is_weight_layer(self) -> bool:
        """A linear layer, a convolution or their kin: it multiplies by a learned weight."""
        return self.plan.macs > 0 and any(
            name == "weight" or name.startswith("parametrizations.weight") for name in self.plan.weights
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "inputs": list(self.inputs),
            "shape": list(self.shape),
            "params": self.params,
            "macs": self.plan.macs,
            "receptive_field": receptive_field_as_json(self.receptive_field),
        }

    def fields_as_json(self) -> dict[str, Any]:
        """The receptive field by input."""
        return {name: receptive_field_as_json(seen) for name, seen in self.fields.items()}


@dataclass(frozen=True)
class Graph:
    """A network that is known through and through before torch is imported.

    `outputs` maps each output's name to its node; MACs and bytes are of one sample, forward.
    """

    name: str
    inputs: Mapping[str, Shape]
    nodes: tuple[LayerNode, ...]
    outputs: Mapping[str, str]
    warnings: tuple[Problem, ...] = ()
    columns: tuple[Use, ...] = ()
    """How each column or array of the data is used, where it has some."""
    channels: Mapping[str, int | None] = field(default_factory=dict)
    """Which axis of each input holds its channels; None where all are positions."""

    @cached_property
    def by_name(self) -> dict[str, LayerNode]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def scopes(self) -> frozenset[str]:
        """Names of blocks and named structures: what stands before a `/` in the name of a node."""
        names = (node.name for node in self.nodes)
        return frozenset(name[:i] for name in names for i, c in enumerate(name) if c == "/")

    @cached_property
    def depths(self) -> dict[str, int]:
        """Weight layers on the longest way from an input to each node, its own among them."""
        deepest: dict[str, int] = {}
        for node in self.nodes:
            before = max((deepest.get(name, 0) for name in node.inputs), default=0)
            deepest[node.name] = before + node.is_weight_layer
        return deepest

    @cached_property
    def ways(self) -> tuple[dict[str, int], dict[str, int]]:
        """For each input and node, how many ways lead to it from the inputs, and on to the first output."""
        here = dict.fromkeys(self.inputs, 1)
        for node in self.nodes:
            here[node.name] = sum(here[name] for name in node.inputs)
        onward = dict.fromkeys(here, 0) | {next(iter(self.outputs.values())): 1}
        for node in reversed(self.nodes):
            for name in node.inputs:
                onward[name] += onward[node.name]
        return here, onward

    @property
    def params(self) -> int:
        """Learned values, shared ones once, frozen ones too."""
        return sum(node.params for node in self.nodes)

    @property
    def trainable(self) -> int:
        """Learned values that training moves."""
        return sum(node.params for node in self.nodes if not node.frozen)

    @property
    def buffers(self) -> int:
        """Values that are kept but not learned: running statistics and their counters."""
        return sum(node.buffers for node in self.nodes)

    @property
    def macs(self) -> int:
        return sum(node.plan.macs for node in self.nodes)

    @property
    def activation_bytes(self) -> int:
        return sum(node.activation_bytes for node in self.nodes)

    @cached_property
    def last_with_positions(self) -> Mapping[str, LayerNode]:
        """By input, the last layer on the way to the first output whose values still stand for positions of it."""
        leading, last = {next(iter(self.outputs.values()))}, dict[str, LayerNode]()
        for node in reversed(self.nodes):
            if node.name in leading:
                leading.update(node.inputs)
                for name, seen in node.fields.items():
                    if name in node.moving or isinstance(seen, UnknownReceptiveField):
                        last.setdefault(name, node)
        return last

    @cached_property
    def fields(self) -> Mapping[str, AnyReceptiveField]:
        """The receptive field by input: that of the last layer with positions.

        "global" where no layer has any and one sees everything; unknown where it cannot be followed to the end.
        """
        last = {name: node.fields[name] for name, node in self.last_with_positions.items()}
        everything: dict[str, AnyReceptiveField] = {
            name: "global" for node in self.nodes for name, seen in node.fields.items() if seen == "global"
        }
        return {name: seen for name in self.inputs if (seen := (everything | last).get(name)) is not None}

    @property
    def main_input(self) -> str | None:
        """The input whose receptive field stands for the network's: the first of those with positions."""
        with_positions = [name for name in self.inputs if name in self.last_with_positions]
        return next(iter((*with_positions, *self.fields)), None)

    @property
    def receptive_field(self) -> AnyReceptiveField:
        """That of the main input."""
        return self.fields[self.main_input] if self.main_input else None

    def output_shape(self, name: str = "") -> Shape:
        """Of the named output, or of the first."""
        node = self.outputs[name or next(iter(self.outputs))]
        return self.by_name[node].shape if node in self.by_name else self.inputs[node]

    def as_json(self) -> dict[str, Any]:
        fields = {name: receptive_field_as_json(seen) for name, seen in self.fields.items()}
        several = len(self.inputs) > 1
        return {
            "name": self.name,
            "params": self.params,
            "trainable": self.trainable,
            "buffers": self.buffers,
            "macs": self.macs,
            "activation_bytes": self.activation_bytes,
            "receptive_field": receptive_field_as_json(self.receptive_field),
            **({"receptive_fields": fields} if several else {}),
            "layers": [
                node.as_json() | ({"receptive_fields": node.fields_as_json()} if several else {})
                for node in self.nodes
            ],
            **({"data": {"columns": [use.as_json() for use in self.columns]}} if self.columns else {}),
        }


def receptive_field_as_json(seen: AnyReceptiveField) -> Any:
    if isinstance(seen, UnknownReceptiveField):
        return seen.as_json()
    if isinstance(seen, ReceptiveField):
        return seen.as_json() if seen.aligned else {**_as_dict(seen.as_json()), "aligned": False}
    return "global" if seen == "global" else None


def _as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {"size": value}
