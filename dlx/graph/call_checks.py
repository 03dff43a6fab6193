"""Checks of an objective with phases against networks and data: its calls, and what its phases move. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ..data.base import Field
from ..errors import DlxError, Mark, Problem, did_you_mean, first_line, listed
from ..objectives import Call, Objective, Phase, Ports, Supervised
from ..objectives.supervised import PROBABILITIES
from ..shapes import Shape
from ..spec import Experiment
from .graph import LayerNode
from .objective_checks import counted

BY_NAME: Final = "Networks have names under `networks`: `networks: {NAME: {layers: [...]}}`."
ALONE: Final = "Write that network under `network`, in place of `networks`."
SHAPES_ALONE: Final = ("reshape", "flatten", "transpose", "permute", "identity")
"""Layers that leave values as they are."""
OF_RUN: Final = "Take a run that was trained on such data."


@dataclass(frozen=True)
class Networks:
    """The networks of a spec as an objective meets them.

    Attributes:
        ports: shapes of inputs and outputs by network.
        ends: place of the layer of each output, by network; an output that is an input has none.
        nodes: the layers by network.
    """

    ports: Mapping[str, Ports]
    ends: Mapping[str, Mapping[str, Mark]]
    nodes: Mapping[str, Sequence[LayerNode]]

    def maker_of(self, shape: Shape) -> tuple[str, Mark] | None:
        """Return the network that has this very shape as an output, with the place of its layer; None for another."""
        for name, one in self.ports.items():
            for output, made in one.outputs.items():
                if made is shape and output in self.ends[name]:
                    return name, self.ends[name][output]
        return None


@dataclass(frozen=True)
class CallChecks:
    """An objective with the fields of the data and the networks, and its phases and calls where it can tell them."""

    experiment: Experiment
    objective: Objective
    fields: Mapping[str, Field]
    networks: Networks
    phases: tuple[Phase, ...] = ()
    calls: tuple[Call, ...] = ()
    unknown: tuple[Problem, ...] = ()
    """Why it cannot tell them."""

    @classmethod
    def of(
        cls, experiment: Experiment, objective: Objective, fields: Mapping[str, Field], networks: Networks
    ) -> CallChecks:
        """Ask an objective for its phases and calls."""
        bare = cls(experiment, objective, fields, networks)
        if isinstance(objective, Supervised):
            return replace(bare, unknown=tuple(bare.of_one_network()))
        try:
            calls = tuple(objective.needs(fields, networks.ports))
            phases = tuple(objective.informed(fields, networks.ports).phases())
        except KeyError as error:
            word = str(error.args[0]) if error.args else ""
            there = f"the spec has {counted('network', networks.ports)}, and the data {counted('field', fields)}"
            hint = did_you_mean(word, networks.ports) if experiment.networks else BY_NAME
            return replace(bare, unknown=(bare.problem(f"{objective.kind} wants `{word}`: {there}", hint),))
        except DlxError as error:
            place, path = bare.problem("").mark, bare.problem("").path
            return replace(
                bare, unknown=tuple(replace(p, mark=p.mark or place, path=p.path or path) for p in error.problems)
            )
        except Exception as error:  # noqa: BLE001 - code of another package, on networks that it may not be made for
            message = f"{objective.kind} cannot say what it needs of these networks: {first_line(error)}"
            return replace(bare, unknown=(bare.problem(message),))
        return replace(bare, phases=phases, calls=calls)

    def problem(self, message: str, hint: str = "") -> Problem:
        """Return a problem at the objective."""
        keys = ("objective", self.objective.kind)
        return Problem(message, hint, self.experiment.place(*keys), ".".join(keys))

    def of_one_network(self) -> Iterator[Problem]:
        """Yield the problem of several networks for an objective of one; its input and output are checked as such."""
        if self.experiment.networks:
            message = f"{self.objective.kind} trains one `network`, and the spec has `networks`: "
            hint = "Write `network`, or an `objective` that has phases for several: a package may bring one."
            yield self.problem(f"{message}{listed(self.networks.ports)}", hint)

    # --- calls ------------------------------------------------------------------------------------------------------

    def problems(self) -> list[Problem]:
        """Return missing networks and fields, missing or extra inputs of a call, and shapes that do not meet."""
        if self.unknown or isinstance(self.objective, Supervised):
            return list(self.unknown)
        found = [*self._unread_fields()]
        for call in self.calls:
            found += self._of_call(call) if call.network in self.networks.ports else [self._no_network(call.network)]
        return list(dict.fromkeys([*found, *self._wrong_outputs()]))

    def _unread_fields(self) -> Iterator[Problem]:
        has, kind = counted("field", self.fields), self.objective.kind
        for phase in self.phases:
            for name in (name for name in phase.reads if name not in self.fields):
                data = self.experiment.place("data")
                message = f"the phase `{phase.name}` of {kind} reads `{name}`, and the data has {has} ({data})"
                yield self.problem(message, did_you_mean(name, self.fields))

    def _no_network(self, name: str) -> Problem:
        ports = self.networks.ports
        message = f"{self.objective.kind} calls the network `{name}`, and the spec has {listed(ports)}"
        if name == "network":
            return self.problem(message, ALONE)
        return self.problem(message, did_you_mean(name, ports) if self.experiment.networks else BY_NAME)

    def _wrong_outputs(self) -> Iterator[Problem]:
        """Yield the networks whose output has another shape than the objective takes."""
        experiment, kind, follow = self.experiment, self.objective.kind, self.objective.outputs_follow
        for name, wanted in self.objective.output_shapes(self.fields).items():
            (shape, *_) = self.networks.ports[name].outputs.values()
            if tuple(shape) != tuple(wanted):
                message = f"the network `{name}` ends in {shape}, and {kind} takes {wanted}"
                message += f", as the data has {follow} ({experiment.place('data')})" if follow else ""
                elsewhere, keys = name in experiment.sources, self._keys(name)[:-1]
                mark = experiment.place(*keys, "from" if elsewhere else "layers")
                hint = OF_RUN if elsewhere else _ending_in(shape, wanted)
                yield Problem(message, hint, mark, ".".join(keys))

    def _of_call(self, call: Call) -> Iterator[Problem]:
        """Yield the mismatches of one call."""
        experiment, kind = self.experiment, self.objective.kind
        keys = self._keys(call.network)
        inputs, passed = self.networks.ports[call.network].inputs, dict(call.inputs)
        if len(inputs) == len(passed) == 1:  # one input takes what there is, whatever it is called
            passed = dict(zip(inputs, passed.values(), strict=True))
        if passed.keys() != inputs.keys():
            message = f"{kind} calls `{call.network}` with {listed(passed) or 'nothing'}, and its inputs are "
            hint = "An input has the name under which the objective gives it."
            yield Problem(f"{message}{listed(inputs)}", hint, experiment.place(*keys), ".".join(keys))
        for name in (name for name in inputs if name in passed):
            what = passed[name]
            if isinstance(what, str) and what not in self.fields:
                message = f"{kind} gives `{call.network}` the field `{what}` as `{name}`, and the data has "
                message += counted("field", self.fields)
                hint = did_you_mean(what, self.fields)
                yield Problem(message, hint, experiment.place(*keys, name), ".".join((*keys, name)))
            else:
                yield from self._of_input(call.network, name, what, inputs[name])

    def _of_input(self, network: str, name: str, what: str | Shape, expected: Shape) -> Iterator[Problem]:
        """Yield the mismatch of what an input is given and what it takes."""
        experiment, keys = self.experiment, self._keys(network)
        shape = what if isinstance(what, Shape) else self.fields[what].shape
        if tuple(shape) == tuple(expected) and shape.dtype == expected.dtype:
            return
        elsewhere, typed = network in experiment.sources, shape.dtype != expected.dtype
        of, maker = "", self.networks.maker_of(what) if isinstance(what, Shape) else None
        if isinstance(what, str):
            of = f", the field `{what}` of the data" + (f" ({experiment.place('data')})" if elsewhere else "")
        elif maker is not None:
            of = f", the output of `{maker[0]}` ({maker[1]})"
        got, wanted = _format_shape(shape, typed), _format_shape(expected, typed)
        message = f"{self.objective.kind} gives `{network}` {got} as `{name}`{of}, and that input is {wanted}"
        if elsewhere:
            yield Problem(message, OF_RUN, experiment.place(*keys), ".".join(keys))
            return
        hint = f"Write `{name}: {list(shape)}` there" if not typed else ""
        hint += f", or let `{maker[0]}` end in {expected}." if maker and hint else "." if hint else ""
        yield Problem(message, hint, experiment.place(*keys, name), ".".join((*keys, name)))

    def _keys(self, network: str) -> tuple[str, ...]:
        """Return the keys of the inputs of a network, or of where it comes from."""
        own = ("networks", network) if self.experiment.networks else ("network",)
        return (*own, "from" if network in self.experiment.sources else "inputs")

    def cautions(self) -> Iterable[tuple[str, str]]:
        """Return what the objective has to say of networks that fit, by network."""
        kinds = {name: {node.kind for node in nodes} for name, nodes in self.networks.nodes.items()}
        return self.objective.cautions(kinds).items()

    # --- what is moved ----------------------------------------------------------------------------------------------

    def problems_of_phases(self) -> list[Problem]:
        """Return phases that move nothing, networks that none moves, and epochs that never end."""
        if isinstance(self.objective, Supervised):
            return []
        moved = [*self._moved_followers(), *self._idle_phases(), *self._unmoved()]
        return [*moved, *self._unclipped(), *self._endless()]

    def _moved_followers(self) -> Iterator[Problem]:
        """Yield phases that move a network which follows another."""
        for phase in self.phases:
            for name in (name for name in phase.moves if name in self.experiment.followers):
                of = self.experiment.followers[name].of
                message = f"the phase `{phase.name}` of {self.objective.kind} moves `{name}`, which follows `{of}`"
                keys = ("networks", name, "follow")
                hint = "Leave `follow` out: then it is trained, with weights of its own."
                yield Problem(message, hint, self.experiment.place(*keys), ".".join(keys))

    def _idle_phases(self) -> Iterator[Problem]:
        """Yield phases that move no network, or only networks in which nothing is trained."""
        kind = self.objective.kind
        for phase in self.phases:
            moves = [name for name in phase.moves if name in self.networks.nodes]
            if any(name in self.experiment.followers for name in moves):
                continue  # told already
            if not phase.moves:
                yield self.problem(f"the phase `{phase.name}` of {kind} moves no network")
            elif len(moves) == len(phase.moves) and not any(map(self._is_trained, moves)):
                names = " and ".join(f"`{name}`" for name in moves)
                has = any(node.params for name in moves for node in self.networks.nodes[name])
                why = f"all weights of {names} are frozen ({self.experiment.place('freeze')})"
                message = f"the phase `{phase.name}` of {kind} moves nothing: "
                message += why if has else f"{names} has no weight to train"
                owners = dict.fromkeys(owner for name in moves for owner in self.owners_of(name))
                hint = "" if has or not owners else self._of_owners(owners)
                keys = self._keys(moves[0])[:-1]
                yield Problem(message, hint, self.experiment.place(*keys), ".".join(keys))

    def owners_of(self, name: str) -> dict[str, None]:
        """Return the networks whose weights a network runs (`share`)."""
        return dict.fromkeys(node.lender for node in self.networks.nodes[name] if node.lender and node.plan.weights)

    def _of_owners(self, owners: Iterable[str]) -> str:
        moved = {name: [p.name for p in self.phases if name in p.moves] for name in owners}
        (name, phases), *_ = moved.items()
        by = f"the phase `{phases[0]}` moves" if phases else "no phase moves"
        return f"Its layers are those of `{name}`, which {by}: give it one of its own, or write them here."

    def _unclipped(self) -> Iterator[Problem]:
        """Yield networks of which a phase clips the weights, but for those that they share and it does not move."""
        for phase in (one for one in self.phases if one.clip is not None):
            for name in (one for one in phase.moves if one in self.networks.nodes):
                for owner in (one for one in self.owners_of(name) if one not in phase.moves):
                    message = f"the phase `{phase.name}` of {self.objective.kind} clips the weights of `{name}`, and "
                    message += f"those that it shares are moved with `{owner}`, unclipped"
                    keys = self._keys(name)[:-1]
                    hint = f"Let `{name}` have the layers, and `{owner}` share them."
                    yield Problem(message, hint, self.experiment.place(*keys), ".".join(keys))

    def _is_trained(self, name: str) -> bool:
        return any(node.params and not node.frozen for node in self.networks.nodes[name])

    def _unmoved(self) -> Iterator[Problem]:
        """Yield networks that no phase moves, where neither `freeze` nor their source says that they stay."""
        moved, kind = {name for phase in self.phases for name in phase.moves}, self.objective.kind
        called = {call.network for call in self.calls}
        for name in (name for name in self.networks.nodes if name not in moved and self._is_trained(name)):
            mark, path = self.experiment.place("networks", name), f"networks.{name}"
            if any(problem.path.startswith(f"{path}.follow") for problem in self.experiment.problems):
                continue  # told already
            lends = [one for one in self.networks.nodes if name in self.owners_of(one)]
            if name in called or lends:
                message = f"no phase of `{kind}` moves the network `{name}`, "
                message += "which it calls" if name in called else f"whose layers `{lends[0]}` shares"
                hint = f"Write `freeze: [{name}]` where it is to stay as it is"
                hint += "." if name in called else f", or put its layers into `{lends[0]}`."
                yield Problem(message, hint, mark, path)
            elif not self.experiment.stage:  # another stage may train it
                yield Problem(
                    f"no phase of `{kind}` calls or moves the network `{name}`", "Leave it out.", mark, path
                )

    def _endless(self) -> Iterator[Problem]:
        """Yield the problem of epochs where no phase takes examples."""
        train = self.experiment.train
        if train is not None and train.steps is None and not any(phase.reads for phase in self.phases):
            message = f"`epochs` never end: no phase of `{self.objective.kind}` reads the data"
            yield Problem(message, "Write `steps: N`.", self.experiment.place("train", "epochs"), "train.epochs")

    def probabilities_for_logits(self) -> Iterator[tuple[str, Problem]]:
        """Yield a warning for each network that ends in probabilities where the objective takes logits."""
        if isinstance(self.objective, Supervised):
            return
        for name, output in self.objective.takes_logits().items():
            ends = self.networks.ends[name]
            for mark in [at for one, at in ends.items() if output == one or len(ends) == 1]:
                node = self._valued(name, mark)
                if node.kind in PROBABILITIES:
                    message = f"{self.objective.kind} takes logits of `{name}`, of which it makes probabilities "
                    message += f"itself, and {node.kind} has made some"
                    path = ".".join((*self._keys(name)[:-1], "layers", node.name))
                    yield name, Problem(message, f"Leave `{node.kind}` out.", node.mark, path)

    def _valued(self, network: str, end: Mark) -> LayerNode:
        """Return the last layer that changes values before the end of a network, and not their shape alone."""
        by_name = {node.name: node for node in self.networks.nodes[network]}
        node = next(one for one in by_name.values() if one.mark == end)
        while node.kind in SHAPES_ALONE and node.inputs[0] in by_name:
            node = by_name[node.inputs[0]]
        return node

    def uncalled(self) -> list[str]:
        """Return the networks that an objective neither calls nor trains; its calls must fit."""
        if isinstance(self.objective, Supervised):
            return []
        used = {call.network for call in self.calls} | {name for phase in self.phases for name in phase.moves}
        return [name for name in self.networks.ports if name not in used]


def _ending_in(shape: Shape, wanted: Shape) -> str:
    """Return how a network comes to end in another shape."""
    if wanted.rank == 3 and tuple(shape[1:]) == tuple(wanted[1:]):
        return f"Let its last layer be `conv: {{out_channels: {wanted[0]}, kernel_size: 1}}`."
    if wanted.rank == 2 and tuple(shape[:-1]) == tuple(wanted[:-1]):
        return f"Let its last layer be `linear: {wanted[-1]}`."
    if wanted.rank == 1:
        return f"Let its last layer be `linear: {wanted.count}`."
    return f"Let it end in `linear: {wanted.count}` and `reshape: [{', '.join(map(str, wanted))}]`."


def _format_shape(shape: Shape, typed: bool) -> str:
    return f"{shape} of {shape.dtype}" if typed else str(shape)
