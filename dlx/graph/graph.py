"""The graph of a network: its nodes in execution order, the cost and receptive field of each, and the totals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from ..errors import Mark, Problem
from ..layers import Layer, Plan
from ..schedules.values import moving_fields
from ..shapes import ReceptiveField, Shape, UnknownReceptiveField
from .receptive_field.axes import AxisField

if TYPE_CHECKING:
    from ..data.base import ColumnUse
    from ..schedules.values import ValueOverTime
    from ..spec.sections.freeze import Until

AnyReceptiveField = ReceptiveField | UnknownReceptiveField | Literal["global", "nothing"] | None
"""A receptive field; an unknown one; "global" (all of the input); "nothing" (as of a `parameter`); None for a single
value of a vector, which has no positions."""


@dataclass(frozen=True, slots=True)
class SymbolicField:
    """The receptive field of a value in one input, exact for every entry of the value.

    `axes` has one field per axis of `basis`: the shape of the input, or the shape to which a vector was reshaped.
    `ReceptiveField` is its summary as size, stride and start.
    """

    basis: tuple[int, ...]
    axes: tuple[AxisField, ...]


SymbolicFields = Mapping[str, SymbolicField | UnknownReceptiveField]
"""The receptive field of a value in each input that it depends on, by the input's name."""


@dataclass(slots=True)
class Wire:
    """A value between two layers: the node that makes it, its shape (None behind a mistake), its receptive fields."""

    name: str
    shape: Shape | None
    symbolic_fields: SymbolicFields = field(default_factory=dict)
    is_input: bool = False
    """It is an input of the network, at most in another shape or order."""


@dataclass(slots=True)
class LayerNode:
    """One layer of a graph. `name` is its full name, with its scopes: `stem/conv_1`."""

    name: str
    kind: str
    layer: Layer
    inputs: tuple[str, ...]
    arriving: tuple[Shape, ...]
    plan: Plan
    symbolic_fields: SymbolicFields
    mark: Mark
    owner: str = ""
    """The node whose weights this one shares (`share`), `NETWORK/NODE` of another network; empty for its own."""
    lender: str = ""
    """The network of the owner, where that is another one."""
    holder: LayerNode | None = field(default=None, repr=False, compare=False)
    """The owner itself, with what is said of its weights: whether they are frozen, whether they are pruned."""
    stands_for: tuple[str, str] = ("", "")
    """Of a network set apart from others, the network and node whose weights those of this node begin as."""
    tied: str = ""
    """The node whose weight this one uses (`tie`): transposed, or an embedding's as it is."""
    result: str = ""
    """The result of the layer that it takes from (`state`), for a node that hands on one; empty for other nodes."""
    values: Mapping[str, Any] = field(default_factory=dict)
    frozen: bool = False
    """Whether its weights never move."""
    frozen_until: Until | None = None
    """When its weights begin to move, where they are frozen for a while."""
    held: bool = False
    """Whether it is in evaluation mode while it is frozen."""
    pruned: int | None = 0
    """How many of its values `prune` holds at zero; None where the magnitudes of others tell."""
    receptive_fields: Mapping[str, AnyReceptiveField] = field(default_factory=dict)
    """The receptive field in each input that it depends on, in the order of the inputs."""
    main_input: str = ""
    """The first of those inputs that has positions, or else the first."""
    inputs_with_positions: tuple[str, ...] = ()
    """The inputs in which its entries still have different positions."""

    @property
    def shape(self) -> Shape:
        return self.plan.shape

    @property
    def weights_of(self) -> LayerNode:
        """The node that has the weights: this one, or the one that it shares them with."""
        return self.holder or self

    @property
    def home(self) -> str:
        """The node of this network whose module runs: that of a node which shares another network's is its own."""
        return self.name if self.lender or not self.owner else self.owner

    def borrow(self, first: LayerNode, network: str = "") -> None:
        """Run the weights of `first` from now on; `network` is its network, where that is another one."""
        self.holder, self.lender = first.weights_of, first.lender or network
        self.owner = f"{self.lender}/{self.holder.name}" if self.lender else self.holder.name

    @property
    def takes(self) -> tuple[str, ...]:
        """The layer's names for its inputs, where they have some."""
        if self.result:
            return ()
        names: tuple[str, ...] = getattr(self.layer, "takes", ()) or self.layer.input_names
        return names[: len(self.inputs)]

    @property
    def receptive_field(self) -> AnyReceptiveField:
        """The receptive field in the main input."""
        return self.receptive_fields[self.main_input] if self.main_input else "nothing"

    @property
    def receptive_field_text(self) -> str:
        """The receptive field as a table shows it: one for each input, equal ones once."""
        distinct = dict.fromkeys(str(field) for field in self.receptive_fields.values() if field is not None)
        return ", ".join(distinct) if self.receptive_fields else "nothing"

    @property
    def params(self) -> int:
        """Number of learned values; 0 for a node that shares another's."""
        return 0 if self.owner else self.plan.params

    @property
    def buffers(self) -> int:
        return 0 if self.owner else self.plan.buffered

    @property
    def activation_bytes(self) -> int:
        """Memory of the output for one sample, in bytes; 0 for a view of the input."""
        return 0 if self.plan.view else self.plan.shape.bytes

    @property
    def is_weight_layer(self) -> bool:
        """Whether it multiplies by a learned weight, as linear layers and convolutions do."""
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
            **({"weights_of": self.owner} if self.lender else {}),
        }

    def receptive_fields_as_json(self) -> dict[str, Any]:
        """Return the receptive field by input, as JSON."""
        return {name: receptive_field_as_json(field) for name, field in self.receptive_fields.items()}


@dataclass(frozen=True)
class Graph:
    """A network with its shapes, costs and receptive fields, known before torch is imported.

    `outputs` maps each output's name to its node; MACs and bytes are of one sample, forward.
    """

    name: str
    inputs: Mapping[str, Shape]
    nodes: tuple[LayerNode, ...]
    outputs: Mapping[str, str]
    warnings: tuple[Problem, ...] = ()
    columns: tuple[ColumnUse, ...] = ()
    """The use of each column or array of the data, where it has some."""
    channel_axes: Mapping[str, int | None] = field(default_factory=dict)
    """The axis of each input that holds its channels; None where all are positions."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """The field of the data that each input takes; empty without data."""
    of_objective: Mapping[str, int] = field(default_factory=dict)
    """The number of values of each parameter of the objective, by its name: `objective/NAME`."""
    frozen_of_objective: Mapping[str, Until | None] = field(default_factory=dict)
    """Those of them that `freeze` names, each with the end of its freeze; None for never."""
    pruned: int = 0
    """How many learned values `prune` holds at zero."""

    @property
    def fields_taken(self) -> tuple[str, ...]:
        """The fields of the data that the network takes, in the order of its inputs; empty without data."""
        return tuple(self.fields[name] for name in self.inputs) if self.fields else ()

    @cached_property
    def by_name(self) -> dict[str, LayerNode]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def scopes(self) -> frozenset[str]:
        """Names of blocks and named structures: each part before a `/` in the name of a node."""
        names = (node.name for node in self.nodes)
        return frozenset(name[:i] for name in names for i, c in enumerate(name) if c == "/")

    @cached_property
    def depths(self) -> dict[str, int]:
        """Number of weight layers on the longest path from an input to each node, itself included."""
        deepest: dict[str, int] = {}
        for node in self.nodes:
            before = max((deepest.get(name, 0) for name in node.inputs), default=0)
            deepest[node.name] = before + node.is_weight_layer
        return deepest

    @cached_property
    def path_counts(self) -> tuple[dict[str, int], dict[str, int]]:
        """For each input and node, the number of paths from the inputs to it, and from it to the first output."""
        to_node = dict.fromkeys(self.inputs, 1)
        for node in self.nodes:
            to_node[node.name] = sum(to_node[name] for name in node.inputs)
        onward = dict.fromkeys(to_node, 0) | {next(iter(self.outputs.values())): 1}
        for node in reversed(self.nodes):
            for name in node.inputs:
                onward[name] += onward[node.name]
        return to_node, onward

    @property
    def params(self) -> int:
        """Number of learned values, frozen ones and those of the objective included; shared ones count once."""
        return sum(node.params for node in self.nodes) + sum(self.of_objective.values())

    @cached_property
    def borrowed(self) -> Mapping[str, int]:
        """Number of learned values of other networks that this one runs (`share`), by network."""
        found: dict[str, dict[str, int]] = {}
        for node in self.nodes:
            if node.lender:
                found.setdefault(node.lender, {})[node.owner] = node.weights_of.params
        return {name: sum(counts.values()) for name, counts in found.items() if any(counts.values())}

    @property
    def trainable(self) -> int:
        """Number of learned values that training updates."""
        moving = sum(node.params for node in self.nodes if not node.frozen)
        return moving + trained_values(self.of_objective, self.frozen_of_objective)

    @property
    def remaining(self) -> int:
        """Number of learned values that `prune` leaves."""
        return self.params - self.pruned

    @property
    def buffers(self) -> int:
        """Number of values in buffers: running statistics and their counters."""
        return sum(node.buffers for node in self.nodes)

    @property
    def macs(self) -> int:
        return sum(node.plan.macs for node in self.nodes)

    @property
    def activation_bytes(self) -> int:
        return sum(node.activation_bytes for node in self.nodes)

    @cached_property
    def last_with_positions(self) -> Mapping[str, LayerNode]:
        """By input, the last layer before the first output whose values still have positions in that input."""
        leading, last = {next(iter(self.outputs.values()))}, dict[str, LayerNode]()
        for node in reversed(self.nodes):
            if node.name in leading:
                leading.update(node.inputs)
                for name, field in node.receptive_fields.items():
                    if name in node.inputs_with_positions or isinstance(field, UnknownReceptiveField):
                        last.setdefault(name, node)
        return last

    @cached_property
    def receptive_fields(self) -> Mapping[str, AnyReceptiveField]:
        """The receptive field by input: that of the last layer with positions.

        "global" where no layer has positions and one sees the whole input; unknown where it cannot be followed to the
        end.
        """
        last = {name: node.receptive_fields[name] for name, node in self.last_with_positions.items()}
        everything: dict[str, AnyReceptiveField] = {
            name: "global"
            for node in self.nodes
            for name, field in node.receptive_fields.items()
            if field == "global"
        }
        return {name: field for name in self.inputs if (field := (everything | last).get(name)) is not None}

    @property
    def main_input(self) -> str | None:
        """The input whose receptive field is the network's: the first with positions, or else the first."""
        with_positions = [name for name in self.inputs if name in self.last_with_positions]
        return next(iter((*with_positions, *self.receptive_fields)), None)

    @property
    def receptive_field(self) -> AnyReceptiveField:
        """The receptive field in the main input."""
        return self.receptive_fields[self.main_input] if self.main_input else None

    def output_shape(self, name: str = "") -> Shape:
        """Return the shape of the named output, or of the first."""
        node = self.outputs[name or next(iter(self.outputs))]
        return self.by_name[node].shape if node in self.by_name else self.inputs[node]

    @property
    def moving(self) -> dict[str, ValueOverTime]:
        """The numbers of layers that move over a training: `dropout_1.p`."""
        layers = {id(node.layer): node.layer for node in self.nodes}  # blocks that run again have the same ones
        moving = {key: fields for key, layer in layers.items() if (fields := moving_fields(layer))}
        own = [node for node in self.nodes if not node.owner] if moving else []
        return {f"{n.name}.{name}": value for n in own for name, value in moving.get(id(n.layer), {}).items()}

    def as_json(self) -> dict[str, Any]:
        fields = {name: receptive_field_as_json(field) for name, field in self.receptive_fields.items()}
        several = len(self.inputs) > 1
        return {
            "name": self.name,
            "params": self.params,
            "trainable": self.trainable,
            **({"shared": dict(self.borrowed)} if self.borrowed else {}),
            **({"remaining": self.remaining} if self.pruned else {}),
            **({"of_objective": list(self.of_objective)} if self.of_objective else {}),
            "buffers": self.buffers,
            **({"moving": {name: value.as_json() for name, value in self.moving.items()}} if self.moving else {}),
            "macs": self.macs,
            "activation_bytes": self.activation_bytes,
            "receptive_field": receptive_field_as_json(self.receptive_field),
            **({"receptive_fields": fields} if several else {}),
            "layers": [
                node.as_json() | ({"receptive_fields": node.receptive_fields_as_json()} if several else {})
                for node in self.nodes
            ],
            **({"data": {"columns": [use.as_json() for use in self.columns]}} if self.columns else {}),
        }


def trained_values(of_objective: Mapping[str, int], frozen: Mapping[str, Until | None]) -> int:
    """Return how many values of the parameters of an objective training updates; `frozen` as in `Graph`."""
    return sum(count for name, count in of_objective.items() if frozen.get(name, True) is not None)


def receptive_field_as_json(receptive_field: AnyReceptiveField) -> Any:
    """Return a receptive field as in `dlx inspect --json`; `aligned` only where it is False."""
    if isinstance(receptive_field, UnknownReceptiveField):
        return receptive_field.as_json()
    if isinstance(receptive_field, ReceptiveField):
        return (
            receptive_field.as_json()
            if receptive_field.aligned
            else {**_as_dict(receptive_field.as_json()), "aligned": False}
        )
    return "global" if receptive_field == "global" else None


def _as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {"size": value}
