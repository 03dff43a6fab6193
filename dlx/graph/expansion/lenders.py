"""Other networks of a spec whose layers one may share: `share: encoder/trunk`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from ...errors import Mark, did_you_mean
from ...spec import Experiment
from ...spec.syntax.read import Node

if TYPE_CHECKING:
    from ..graph import LayerNode
    from .place import Placer
    from .scope import Scope

OWN_LAYERS = "Write the layers in a network of this spec: `weights: {from: ...}` gives them those values."


@dataclass(frozen=True)
class Lender:
    """Another network, after its walk; `clean` is whether it has no mistake, so that all of its names are known."""

    name: str
    placer: Placer
    clean: bool = True

    @property
    def scopes(self) -> Mapping[str, tuple[Node, Scope]]:
        """Its blocks and named structures by their full names."""
        return self.placer.scopes

    @cached_property
    def nodes(self) -> dict[str, LayerNode]:
        """Its layers, by the names that stand for them outside every block."""
        wires = {name: self.placer.top.find(name) for name in (*self.placer.top.wires, *self.placer.by_name)}
        named = {name: self.placer.by_name.get(wire.name) for name, wire in wires.items() if wire is not None}
        return {name: node for name, node in named.items() if node is not None}

    def has(self, inside: str) -> bool:
        """Whether it has this node or scope."""
        return inside in self.scopes or inside in self.nodes

    def visible(self) -> list[str]:
        """Return the names that can be shared, with that of the network."""
        return [f"{self.name}/{one}" for one in dict.fromkeys((*self.scopes, *self.nodes))]


@dataclass(frozen=True)
class Beside:
    """The other networks of a spec, and those above one whose layers it may share."""

    marks: Mapping[str, Mark] = field(default_factory=dict)
    lenders: Mapping[str, Lender] = field(default_factory=dict)
    not_lending: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Those whose layers no other shares, with the message and hint that say so."""
    apart: bool = False
    """Whether the network has layers of its own where it shares those of others: a copy, or one of another run."""


@dataclass(frozen=True)
class Shared:
    """The node whose weights another runs; `placer` is that of its `network`, None for the network of the other."""

    name: str
    network: str = ""
    placer: Placer | None = None


@dataclass(frozen=True)
class Replaying:
    """A scope that is repeated: the prefix of the new one, that of the one it shares, and the network of that."""

    new: str
    shared: str
    of: Lender | None = None


def beside(experiment: Experiment, name: str, above: Mapping[str, Lender]) -> Beside:
    """Return what the network `name` may share with those `above` it."""
    marks = {other: experiment.place("networks", other) for other in experiment.networks if other != name}
    still = {other: (f"the layers of `{other}` are those of a run", OWN_LAYERS) for other in experiment.sources}
    still |= {
        other: (f"`{other}` follows `{one.of}`", f"Share those of `{one.of}`.")
        for other, one in experiment.followers.items()
    }
    not_lending = {other: (f"{why}, and no other network shares them", hint) for other, (why, hint) in still.items()}
    lenders = {other: one for other, one in above.items() if other not in still}
    return Beside(marks, lenders, not_lending, experiment.root.at("networks", name, "copy") is not None)


def shares_others(view: Experiment, networks: Collection[str]) -> bool:
    """Whether a network names others in a `share`."""
    entries = (entry.map.get("share") for node in (view.network, view.blocks) for entry in node.walk())
    return any(str(one.value).partition("/")[0] in networks for one in entries if one is not None)


def both_fit(text: str, lender: Lender, inside: str) -> tuple[str, str]:
    """Return the message and hint where a name is of this network and of another one."""
    mark = (lender.scopes[inside][0] if inside in lender.scopes else lender.nodes[inside]).mark
    message = f"`{text}` is a layer of this network and one of the network `{lender.name}`{mark.in_brackets}"
    return message, "Give one of them another name."


def why_not_lent(text: str, placer: Placer) -> tuple[str, str] | None:
    """Return why `share` finds nothing in another network; None where the text names no other network."""
    name, _, inside = text.partition("/")
    if name in placer.lenders and not inside:
        some = placer.lenders[name].visible()
        return (
            f"`{name}` is a network, and `share` wants one of its layers",
            f"Such as `share: {some[0]}`." if some else "",
        )
    if name in placer.lenders:
        message = f"the network `{name}`{placer.other_networks[name].in_brackets} has no layer `{inside}`"
        return message, did_you_mean(text, placer.lenders[name].visible())
    if name in placer.not_lending:
        return placer.not_lending[name]
    if name not in placer.other_networks:
        return None
    mark = placer.other_networks[name]
    message = f"`{text}` is in a network that comes later{mark.on_line}, and `share` wants one above"
    return message, f"Write `{name}` above this network."
