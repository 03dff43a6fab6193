"""The graphs of all networks of a spec, and their totals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..errors import Mark, Problem, SpecError, did_you_mean
from ..spec.sections.networks import ONE
from ..utils import json_documents
from .graph import Graph, LayerNode, trained_values

if TYPE_CHECKING:
    from ..objectives import Ports
    from ..plugins import Plugin
    from ..spec.sections.followers import Follower
    from ..spec.sections.freeze import Until
    from .phase_plan import PhasePlan

LAYER = Mark("--layer")
TOTALS = ("params", "trainable", "buffers", "macs", "activation_bytes")


@dataclass(frozen=True)
class Graphs(Mapping[str, Graph]):
    """Graphs by the name of the network; `network` is the name of the one under `network`.

    MACs and bytes are of one sample through each network, forward.
    """

    name: str
    networks: Mapping[str, Graph]
    warnings: tuple[Problem, ...] = ()
    plugins: tuple[Plugin, ...] = ()
    """The plugins of the spec."""
    stages: Mapping[str, Graphs] = field(default_factory=dict)
    """The graphs of each stage by its name, where the spec has stages; these are those of the last one."""
    objective: str = ""
    """The kind of the objective."""
    shapes_of_objective: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """The shape of each parameter of the objective, by its name: `objective/NAME`."""
    of_objective: Mapping[str, int] = field(default_factory=dict)
    """Of several networks, the number of values of each parameter of the objective; else the one graph has them."""
    frozen_of_objective: Mapping[str, Until | None] = field(default_factory=dict)
    """Of several networks, those of them that `freeze` names, each with the end of its freeze; None for never."""
    copies: Mapping[str, str] = field(default_factory=dict)
    """The networks that are copies of others, by name, and of which."""
    followers: Mapping[str, Follower] = field(default_factory=dict)
    """Those of them that follow the other network, by name, and how."""
    phases: tuple[PhasePlan, ...] = ()
    """What a step of the objective does, where it has phases."""
    sources: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The networks with the layers and weights of a run or an earlier stage, by name, and where they come from."""

    @classmethod
    def of(cls, graph: Graph) -> Graphs:
        """Wrap the graph of a spec with one network."""
        return cls(graph.name, {ONE: graph}, graph.warnings)

    def __getitem__(self, name: str) -> Graph:
        return self.networks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.networks)

    def __len__(self) -> int:
        return len(self.networks)

    @property
    def ports(self) -> Mapping[str, Ports]:
        """Shapes of the inputs and outputs of each network, as objectives take them."""
        from ..objectives import Ports

        return {
            name: Ports(graph.inputs, {output: graph.output_shape(output) for output in graph.outputs})
            for name, graph in self.networks.items()
        }

    @property
    def is_one(self) -> bool:
        """Whether the spec has `network`, not `networks`."""
        return list(self.networks) == [ONE]

    @property
    def one(self) -> Graph:
        """The graph of the only network."""
        (graph,) = self.networks.values()
        return graph

    def full(self, network: str, node: str) -> str:
        """Return the name of a node in the spec: `generator/conv_1`, or `conv_1` where there is one `network`."""
        return node if self.is_one else f"{network}/{node}"

    def nodes(self) -> Iterator[tuple[str, LayerNode]]:
        """Yield all nodes with their names in the spec."""
        return ((self.full(name, node.name), node) for name, graph in self.items() for node in graph.nodes)

    def part(self, name: str) -> tuple[str, str]:
        """Split the name of a node or scope into the network and the name in its graph, empty for a whole network.

        Errors: SpecError where there is no such network.
        """
        if self.is_one:
            return ONE, name
        network, _, inside = name.partition("/")
        if network not in self.networks:
            names = [*self.networks, *(full for full, _ in self.nodes())]
            hint = did_you_mean(name, [full for full in names if full.endswith(f"/{name}")] or names)
            raise SpecError(Problem(f"there is no network `{network}`", hint, LAYER))
        return network, inside

    def find(self, name: str) -> tuple[str, LayerNode]:
        """Return the network and the node called `name` in the spec.

        Errors: SpecError with the nearest names where there is no such node.
        """
        network, inside = self.part(name)
        graph = self.networks[network]
        if inside in graph.by_name:
            return network, graph.by_name[inside]
        if not inside and not self.is_one:
            first = next((self.full(network, node) for node in graph.by_name), network)
            raise SpecError(Problem(f"`{network}` is a network", f"Name one of its layers: `{first}`.", LAYER))
        names = [full for full, _ in self.nodes()]
        hint = self.other_stage(name) or did_you_mean(name, names)
        raise SpecError(Problem(f"there is no layer `{name}`", hint, LAYER))

    def other_stage(self, name: str) -> str:
        """Return the hint that another stage has the layer or block `name`; empty where none has."""
        for stage, graphs in self.stages.items():
            if any(full == name or full.startswith(f"{name}/") for full, _ in graphs.nodes()):
                return f"The stage `{stage}` has one: `--stage {stage}`."
        return ""

    @property
    def params(self) -> int:
        """Number of learned values of all networks, frozen ones included."""
        return self._sum("params") + sum(self.of_objective.values())

    @property
    def trainable(self) -> int:
        """Number of learned values that training updates."""
        return self._sum("trainable") + self.trained_of_objective

    @property
    def trained_of_objective(self) -> int:
        """Of several networks, the number of values of the objective that training updates."""
        return trained_values(self.of_objective, self.frozen_of_objective)

    @property
    def parameters_of_objective(self) -> Mapping[str, int]:
        """The number of values of each parameter of the objective, of one network or several."""
        return self.one.of_objective if self.is_one else self.of_objective

    @property
    def remaining(self) -> int:
        """Number of learned values that `prune` leaves."""
        return self._sum("remaining") + sum(self.of_objective.values())

    @property
    def buffers(self) -> int:
        """Number of values in buffers."""
        return self._sum("buffers")

    @property
    def macs(self) -> int:
        return self._sum("macs")

    @property
    def activation_bytes(self) -> int:
        return self._sum("activation_bytes")

    def _sum(self, quantity: str) -> int:
        return sum(getattr(graph, quantity) for graph in self.values())

    def as_json(self) -> dict[str, Any]:
        """Return the document of the one network, or the totals and the document of each network, and the plugins."""
        beside: dict[str, Any] = {"plugins": [one.as_json() for one in self.plugins]} if self.plugins else {}
        if len(self.phases) > 1 or (self.phases and not self.is_one):
            beside["phases"] = [phase.as_json() for phase in self.phases]
        if self.is_one:
            return self.one.as_json() | beside
        totals: dict[str, Any] = {quantity: getattr(self, quantity) for quantity in TOTALS}
        if self.of_objective:
            totals["of_objective"] = list(self.of_objective)
        if self.remaining < self.params:
            totals["remaining"] = self.remaining
        return {
            "name": self.name,
            **totals,
            "networks": {
                name: graph.as_json()
                | ({"from": dict(self.sources[name])} if name in self.sources else {})
                | ({"copy": self.copies[name]} if name in self.copies else {})
                | ({"follow": self.followers[name].as_json()} if name in self.followers else {})
                for name, graph in self.items()
            },
            **beside,
        }

    @cached_property
    def text(self) -> str:
        """The document as `plan.json` has it, made once for all trials of a search that have these graphs."""
        return json_documents.dumps(self.as_json(), indent=1) + "\n"
