"""What a node of a trained network gives for new inputs, and what objectives without targets tell of them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..data.batch import Batch
from ..errors import DlxError, did_you_mean
from ..graph import Graphs
from ..graph.trace import trace_training
from ..lazy import np, torch
from ..objectives import Objective, learned
from ..runs.folder import RunFolder
from ..spec import Experiment
from ..training import network_checks
from ..training.checkpoints import checkpoint
from .answer_base import Answers
from .evaluate import weights_of

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor, fx

    from ..data.input_record import InputRecord

    Array = npt.NDArray[Any]

CHUNK = 256
"""Inputs in one call of a network."""


@dataclass(frozen=True)
class Named(Answers):
    """Arrays (n, ...) by name; those of up to one axis behind the inputs are columns of a table.

    `apart` are names of arrays that are not in it, such as those that are like the inputs.
    """

    named: Mapping[str, Array]
    apart: frozenset[str] = frozenset()
    labels: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.named.values())))

    @property
    def arrays(self) -> dict[str, Array]:
        return dict(self.named)

    @property
    def in_table(self) -> dict[str, Array]:
        """The arrays that are columns of a table, (n,) or (n, columns)."""
        return {name: one for name, one in self.named.items() if one.ndim <= 2 and name not in self.apart}

    @property
    def titles(self) -> list[str] | None:
        found = []
        for name, one in self.in_table.items():
            found += [name] if one.ndim == 1 else [f"{name}_{i}" for i in range(one.shape[1])]
        return found or None

    def rows(self, i: int) -> list[list[Any]]:
        return [[value for one in self.in_table.values() for value in one[i : i + 1].reshape(-1).tolist()]]

    def as_json(self, i: int) -> dict[str, Any]:
        return {name: one[i].tolist() for name, one in self.named.items()}


# --- nodes ----------------------------------------------------------------------------------------------------------


def ending_at(network: fx.GraphModule, name: str) -> fx.GraphModule:
    """Return a network with the same weights whose output is that of a node. DlxError where there is none."""
    graph = copy.deepcopy(network.graph)
    named = {one.meta["node"]: one for one in graph.nodes if "node" in one.meta}  # of several, the last is its output
    if name not in named:
        raise DlxError(f"there is no node `{name}` in the network", hint=did_you_mean(name, named))
    for node in [one for one in graph.nodes if one.op == "output"]:
        graph.erase_node(node)
    graph.output(named[name])
    short = torch.fx.GraphModule(network, graph)
    short.graph.eliminate_dead_code()
    short.recompile()
    return short


def node_values(networks: Sequence[Any], name: str, title: str, inputs: Sequence[Array]) -> Named:
    """Return what the node `name` of one trained network gives for inputs in the network's order."""
    if len(networks) > 1:
        raise DlxError(f"`--of` is for one network, and {len(networks)} answer together",
                       hint="Name the run of one of them, or a checkpoint by `--checkpoint`.")  # fmt: skip
    short = ending_at(networks[0], name)
    with torch.inference_mode():
        found = torch.cat([short(*chunk) for chunk in _chunks(inputs)])
    return Named({title: found.float().numpy() if found.is_floating_point() else found.numpy()})


def _chunks(inputs: Sequence[Array]) -> Iterator[tuple[Tensor, ...]]:
    split = (torch.split(torch.from_numpy(np.ascontiguousarray(x)), CHUNK) for x in inputs)
    return zip(*split, strict=True)


# --- objectives with phases -----------------------------------------------------------------------------------------


class Trained:
    """The trained networks of a run whose objective has phases; `call` is what the objective calls them by."""

    def __init__(self, experiment: Experiment, run: RunFolder, name: str, record: InputRecord) -> None:
        from ..network import build_all

        assert experiment.objective is not None
        self.graphs = _graphs(experiment, record)
        self.networks = {each: network.eval() for each, network in build_all(self.graphs, {}).items()}
        self.objective: Objective = experiment.objective.informed(record.facts.fields, self.graphs.ports)
        whole = learned.whole(self.networks, self.objective)
        checkpoint.load_weights(whole, weights_of(run, name), name)
        self.call = learned.PlainCaller(self.networks, learned.parameters_of(whole))
        self.fields, self.record, self.run = tuple(record.facts.inputs), record, run

    def answers(self, inputs: Sequence[Array], seed: int) -> Named:
        """Return what the objective answers for the input fields in their order."""
        found: dict[str, list[Tensor]] = {}
        for one in self.objective.needs(self.record.facts.fields, self.graphs.ports):
            for name, field in one.inputs.items():
                if isinstance(field, str) and field not in self.fields:
                    message = f"`{one.network}` takes the field `{field}` as `{name}`, which new inputs do not have"
                    raise DlxError(message, hint="`--of NETWORK/NODE` answers what a node of another network gives.")
        with torch.inference_mode():
            for chunk in _chunks(inputs):
                batch = Batch(dict(zip(self.fields, chunk, strict=True)))
                network_checks.check_values(self.objective, batch, self.run.key)
                rng = torch.Generator().manual_seed(seed)
                for name, value in self.objective.answers(self.call, batch, rng).items():
                    found.setdefault(name, []).append(value)
        arrays = {name: torch.cat(each).float().numpy() for name, each in found.items()}
        shapes = {x.shape for x in inputs}
        return Named(arrays, frozenset(name for name, one in arrays.items() if one.shape in shapes))

    def node(self, name: str, inputs: Sequence[Array]) -> Named:
        """Return what a node gives, `NETWORK/NODE` where there are several networks."""
        network, _, node = ("network", "", name) if self.graphs.is_one else name.partition("/")
        if network not in self.graphs:
            known, nodes = ", ".join(f"`{each}`" for each in self.graphs), [full for full, _ in self.graphs.nodes()]
            ends = [full for full in nodes if full.partition("/")[2] == name]
            hint = f"Write {' or '.join(f'`{full}`' for full in ends[:2])}." if ends else did_you_mean(name, nodes)
            raise DlxError(f"`--of {name}` names no network of the run, which has {known}", hint=hint)
        by_name = dict(zip(self.fields, inputs, strict=True))
        calls = self.objective.needs(self.record.facts.fields, self.graphs.ports)
        each = [one.inputs for one in calls if one.network == network] or [{}]
        of_data = [one for one in each if all(isinstance(f, str) and f in by_name for f in one.values())]
        fields = (of_data or each)[0]  # a discriminator is called with what a generator made, too
        if not all(isinstance(field, str) and field in by_name for field in fields.values()):
            made = ", ".join(f"`{one}`" for one, f in fields.items() if not (isinstance(f, str) and f in by_name))
            raise DlxError(f"`{network}` takes {made}, which new inputs do not have",
                           hint="Name a node of a network that takes the data.")  # fmt: skip
        first = next(iter(fields.values()), "")  # one input may be called as it likes
        taken = [by_name[str(fields.get(each, first))] for each in self.graphs[network].inputs]
        return node_values([self.networks[network]], node, node, taken)


def _graphs(experiment: Experiment, record: InputRecord) -> Graphs:
    """Return the graphs of all networks for the inputs of a record, without the data."""
    plain = replace(experiment.last_stage, data=None, known_facts=record.facts)
    of_data = {name: one.shape for name, one in record.facts.inputs.items()}
    written = {name: view.network.at("inputs") is not None for name, view in plain.views().items()}
    return trace_training(plain, {name: of_data for name, has in written.items() if not has})
