"""A network while it is traced, and what the patterns of `freeze`, `init` and `prune` take in all networks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from ..errors import Problem, did_you_mean, listed
from ..init import named
from ..shapes import Shape
from ..spec import Experiment
from ..spec.sections.freeze import FreezePattern
from ..spec.validation import shown
from .expansion.place import Placer
from .expansion.problems import Problems
from .graph import LayerNode, Wire

FREEZE = "freeze"
"""The path of warnings about frozen nodes."""
BATCH_NORMS = frozenset({"batch_norm", "book_batch_norm", "ghost_batch_norm", "batch_renorm"})
NOT_HELD = "`{match: ..., mode: eval}` in `freeze` holds them, too."


@dataclass
class Walk:
    """One network while it is traced.

    `experiment` is the view of this network; `prefix` precedes the names of its nodes in the spec.
    """

    experiment: Experiment
    placer: Placer
    shapes: Mapping[str, Shape]
    prefix: str = ""
    last: Wire = field(default_factory=lambda: Wire("input", None))
    outputs: Mapping[str, str] = field(default_factory=dict)
    clean: bool = True
    """Whether its layers have no mistake, so that all of its names are known."""

    def full(self, name: str) -> str:
        return f"{self.prefix}{name}"


def freeze(experiment: Experiment, walks: Sequence[Walk], problems: Problems) -> None:
    """Freeze the nodes that match the patterns of `freeze`; of several that match a node the first one counts."""
    taken = set[int]()
    names = {walk.full(name) for walk in walks for name in (*walk.placer.marks, *walk.placer.top.visible())}
    scalars = [f"objective/{name}" for name in experiment.objective.parameters()] if experiment.objective else []
    names |= {*scalars, *(name.partition("/")[0] for name in scalars)}
    clean = all(walk.clean for walk in walks)
    for pattern in experiment.freeze:
        if problems.full:
            break
        text = pattern.text
        frozen = {id(walk): _frozen(walk, pattern, taken) for walk in walks}
        # After a walk with mistakes, numbered and inner names may be missing: then no match is no mistake
        certain = clean or not (any(walk.placer.incomplete for walk in walks) or "/" in text or text[-1:].isdigit())
        if certain and not any(frozen.values()) and not any(fnmatchcase(name, text) for name in names):
            known = [walk.full(n.name) for walk in walks for n in walk.placer.nodes]
            block = f"; `{text}` is a block, and each use of it has a name" if text in experiment.blocks.map else ""
            message = f"`freeze` matches no node: {shown(text)}{block}"
            problems.add(Problem(message, _pattern_hint(text, [*known, *scalars]), pattern.node.mark, FREEZE))
    for walk in walks:
        _share_frozen(walk.placer.nodes)


def _pattern_hint(text: str, known: Sequence[str]) -> str:
    """Return the hint about a pattern that matches none of the `known` nodes: scopes stand for what is inside."""
    scopes = dict.fromkeys(f"{name.rpartition('/')[0]}/*" for name in known if "/" in name)
    near = did_you_mean(text, [*known, *(scope.removesuffix("/*") for scope in scopes)])
    if near.startswith("Did you mean") or not scopes:
        return near
    outside = [name for name in known if "/" not in name]
    first = next(iter(scopes))
    all_within = f"`{first.removesuffix('/*')}`, or `{first}`, is all inside of it."
    return f"{did_you_mean('', [*outside, *scopes])} {all_within}"


def keep_still(experiment: Experiment, walks: Mapping[str, Walk]) -> None:
    """Freeze the networks that come from elsewhere or follow others, and hold them in evaluation mode."""
    for name in (*experiment.sources, *experiment.followers):
        for node in walks[name].placer.nodes:
            node.frozen, node.frozen_until, node.held = True, None, True


def _frozen(walk: Walk, pattern: FreezePattern, taken: set[int]) -> list[LayerNode]:
    """Freeze the nodes of a network that match a pattern, without those `taken` before; return all that match."""
    hits = [n for n in walk.placer.nodes if named(walk.full(n.name), pattern.text)]
    new = [node for node in hits if id(node) not in taken]
    for node in new:
        taken.add(id(node))
        node.frozen, node.frozen_until, node.held = pattern.until is None, pattern.until, pattern.held
    if not pattern.held and (moving := [walk.full(n.name) for n in new if n.kind in BATCH_NORMS]):
        walk.placer.warned.add(Problem(_statistics_move(moving), NOT_HELD, pattern.node.mark, FREEZE))
    return hits


def _statistics_move(names: list[str]) -> str:
    named = listed(names)
    return f"it holds the scale and shift of {named}, and the running statistics follow the batches all the same"


def check_init(experiment: Experiment, walks: Sequence[Walk], problems: Problems) -> None:
    """Check that each pattern of `init` matches a node whose weights an initializer sets."""
    whole = {walk.full(n.name): n for walk in walks for n in walk.placer.nodes}
    for name in experiment.inits.keys() & experiment.followers.keys():
        message = f"`init` is for weights that are drawn, and `{name}` begins as `{experiment.followers[name].of}`"
        problems.add(Problem(message, "Leave it out.", experiment.place("init", name), f"init.{name}"))
    inits = experiment.inits or {"": experiment.init}
    for network, init in inits.items():
        keys, scope = ("init", *filter(None, [network])), f"{network}/" if network else ""
        names = {name: node for name, node in whole.items() if name.startswith(scope)}
        _check_patterns(experiment, (*keys, init.kind, "match"), init.patterns(), names, walks, problems)


def check_prune(experiment: Experiment, walks: Sequence[Walk], problems: Problems) -> None:
    """Check `prune` against the weights of all networks, where these have no mistake."""
    if experiment.prune is not None and all(walk.clean for walk in walks):
        from . import pruning  # as in `trace._graph`

        for problem in pruning.problems(experiment, {walk.prefix: walk.placer.nodes for walk in walks}):
            problems.add(problem)


def _check_patterns(
    experiment: Experiment,
    keys: tuple[str, ...],
    patterns: Iterable[str],
    nodes: Mapping[str, LayerNode],
    walks: Sequence[Walk],
    problems: Problems,
) -> None:
    initialized = [
        name for name, n in nodes.items() if not n.owner and any(len(w) > 1 for w in n.plan.weights.values())
    ]
    clean, incomplete = all(walk.clean for walk in walks), any(walk.placer.incomplete for walk in walks)
    for pattern in patterns:
        certain = clean or not (incomplete or "/" in pattern or pattern[-1:].isdigit())
        if certain and not any(named(name, pattern) for name in initialized):
            other = any(named(name, pattern) for name in nodes)
            norms = "Norms keep their ones and zeros: `values: {weight: 0}` beside one sets its scale."
            hint = norms if other else did_you_mean(pattern, initialized)
            message = f"`init` matches no node with weights to draw: {shown(pattern)}"
            problems.add(Problem(message, hint, experiment.place(*keys, pattern), ".".join((*keys, pattern))))


def _share_frozen(nodes: list[LayerNode]) -> None:
    """Freeze the owner of shared weights with the nodes that share them."""
    for node in nodes:
        if node.owner and (node.frozen or node.frozen_until is not None):
            owner = node.weights_of
            owner.frozen, owner.frozen_until, owner.held = node.frozen, node.frozen_until, node.held
