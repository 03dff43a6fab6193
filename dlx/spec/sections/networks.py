"""Several networks by name: `networks`, and the parts of `init` and `train` for each of them.

    networks: {generator: {...}, discriminator: {...}}
    init: {generator: he_normal}                          # the others as torch makes them
    train: {optimizer: {generator: {adam: 1e-4}, discriminator: {adam: 4e-4}}}

A section that holds a kind may hold kinds by network instead: a mapping in which no key is a kind of that family.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from keyword import iskeyword
from typing import TYPE_CHECKING, Any, Final

from ...errors import Problem, did_you_mean, with_article
from ...init import INITIALIZERS, Default, Initializer
from ...other_names import kind_meant
from ...registry import FAMILIES, Registry
from ..syntax.read import BROKEN, Node
from ..validation import build, choose, shown
from .expect import KEYS
from .kinds import OF_TRAIN
from .reserved_names import OF_DICTIONARIES, OF_MODULES

if TYPE_CHECKING:
    from .train import Train

ONE: Final = "network"
"""Name of the network of a spec that has one, under `network`."""
OF_OBJECTIVE: Final = "objective"
"""Name of the optimizer, schedule and average of the parameters of the objective."""
COPY: Final = "copy"
"""Key of a network with the layers of another one, whose weights are its own."""
MOST: Final = 100
RESERVED: Final = ("objective", ONE, "data", "x", "layers", "branches", "shortcut", "after", *KEYS)
BY_NETWORK: Final[Mapping[str, Registry[Any]]] = {field: FAMILIES[field] for field in OF_TRAIN}
"""Fields of `train` that hold a kind, or kinds by network."""


def parse_networks(root: Node, problems: list[Problem]) -> dict[str, Node]:
    """Return the nodes of `networks` by name; empty where the spec has one `network`."""
    node, one = root.at("networks"), root.at(ONE)
    if node is None:
        return {}
    if one is not None:
        message = f"`networks` stands beside `network` (line {one.mark.line})" if one.mark.line else BESIDE
        hint = "Keep one of the two: `network` for one network, `networks` for several by name."
        problems.append(Problem(message, hint, node.mark, "networks"))
        return {}
    if not node.map:
        message = f"`networks` must be a mapping of names to networks, not {shown(node.plain())}"
        hint = "Write `networks: {generator: {layers: [...]}, discriminator: {layers: [...]}}`."
        problems.append(Problem(message, hint, node.mark, "networks"))
    if len(node.map) > MOST:
        message = f"`networks` has {len(node.map):,} networks, and {MOST} are the most"
        problems.append(Problem(message, "", node.mark, "networks"))
        return {}
    for name, network in node.map.items():
        if hint := _name_hint(name):
            problems.append(Problem(f"a network cannot be called `{name}`", hint, network.mark, f"networks.{name}"))
    return {name: _copied(name, node.map, problems) for name in node.map}


def _copied(name: str, networks: Mapping[str, Node], problems: list[Problem]) -> Node:
    """Return the node of a network, that of `{copy: NAME}` with the keys of the other network.

    Mistakes go to `problems`; the node stays as it is then.
    """
    node, path = networks[name], f"networks.{name}"
    if not node.is_map or COPY not in node.map:
        return node
    of, beside = node.map[COPY], [key for key in node.map if key in ("layers", "inputs", "outputs", "from")]
    if beside:
        message = f"`{path}` has `{beside[0]}` beside `copy`, which brings layers and inputs"
        problems.append(Problem(message, "Keep one of the two.", node.map[beside[0]].mark, f"{path}.{beside[0]}"))
        return node
    known = [other for other, one in networks.items() if one.is_map and not {COPY, "from"} & one.map.keys()]
    if not isinstance(of.value, str) or of.value not in known:
        message = f"`copy` wants the name of a network with layers, not {shown(of.plain())}"
        word = of.value if isinstance(of.value, str) else ""
        problems.append(Problem(message, did_you_mean(word, known, "the networks"), of.mark, f"{path}.copy"))
        return node
    return Node(networks[of.value].map | {key: one for key, one in node.map.items() if key != COPY}, node.mark)


def network_names(root: Node, networks: Mapping[str, Node]) -> list[str]:
    """Return the names of the networks; empty where `networks` is malformed, so that uses are not reported."""
    if root.at("networks") is None:
        return [ONE]
    return [] if list(networks) == [ONE] else list(networks)


BESIDE: Final = "`networks` stands beside `network`"


def _name_hint(name: str) -> str:
    """Return the hint where a network cannot have this name; empty where it can."""
    if name in RESERVED:
        of = "the keys of a claim under `expect`" if name in KEYS else "the spec's own words"
        return f"`{name}` is one of {of}: choose another name."
    if not name.isidentifier() or name.startswith("_") or iskeyword(name):
        return "Letters, digits and `_`, a letter first; no word of Python's."
    if name in OF_MODULES | OF_DICTIONARIES:
        return f"torch's modules use the word `{name}`: add a letter."
    # `optimizer: {sgd: ...}` would be either the kind or the network.
    for registry in (*BY_NETWORK.values(), INITIALIZERS):
        if name in registry:
            return f"{with_article(registry.noun).capitalize()} is called that, and both may be keys of one section."
    return ""


def by_network(
    registry: Registry[Any], node: Node, path: str, networks: Sequence[str], problems: list[Problem]
) -> dict[str, Node] | None:
    """Split `node` by network; None where it holds one kind for all.

    `networks` are the known names; where it is empty, no name is a mistake. With one `network`, a mapping is by
    network only where it has that name: every other word is read as a kind. Mistakes of the mapping go to
    `problems`, and their parts are left out.
    """
    kinds = [key for key in node.map if key in registry]
    named = [key for key in node.map if key in networks]
    if kinds and named:
        mark, other = node.map[named[0]].mark, node.map[kinds[0]].mark
        line = f" (line {other.line})" if other.line else ""
        message = f"the network `{named[0]}` stands beside `{kinds[0]}`{line}, a kind of {registry.noun}"
        hint = f"Write one {registry.noun} for all networks, or one for each by its name."
        problems.append(Problem(message, hint, mark, f"{path}.{named[0]}"))
        return {}
    several = node.is_map and list(networks) != [ONE]
    if kinds or not (named or several):
        return None
    if not networks:
        return {}
    for name in (key for key in node.map if key not in networks):
        where = f"{path}.{name}"
        message = f"there is no network and no {registry.noun} `{name}`"
        near = kind_meant(name, [*networks, *registry], registry.noun)
        hint = near if near.startswith("Did") else did_you_mean(name, networks, "the networks")
        problems.append(Problem(message, hint, node.map[name].mark, where))
    return {name: node.map[name] for name in named}


def parse_init(
    node: Node | None, networks: Sequence[str], problems: list[Problem]
) -> tuple[Initializer, dict[str, Initializer]]:
    """Parse `init` to the initializer of all networks, and those of single networks by name."""
    if node is None:
        return Default(), {}
    parts = by_network(INITIALIZERS, node, "init", networks, problems)
    if parts is None:
        return choose(INITIALIZERS, node, "init", problems) or Default(), {}
    choices = {name: choose(INITIALIZERS, part, f"init.{name}", problems) for name, part in parts.items()}
    chosen = {name: one for name, one in choices.items() if one is not None}
    return (chosen.get(ONE) or Default(), {}) if list(networks) == [ONE] else (Default(), chosen)


def parse_train(node: Node, networks: Sequence[str], problems: list[Problem]) -> Train | None:
    """Parse the section `train`. None where it has mistakes, which go to `problems`."""
    from .train import Train

    found: list[Problem] = []
    named: dict[str, dict[str, Any]] = {}
    rest = dict(node.map)
    for key, registry in BY_NETWORK.items():
        child, path = node.at(key), f"train.{key}"
        parts = by_network(registry, child, path, networks, found) if child is not None else None
        if parts is None:
            continue
        del rest[key]
        # `average: {generator: null}` turns an average off; the other two fields have no null.
        present = {name: part for name, part in parts.items() if part.value is not None or key != "average"}
        named[key] = {name: choose(registry, part, f"{path}.{name}", found) for name, part in present.items()}
    problems += found
    if not named:
        return build(Train, node, "train", problems)
    whole = Node(rest, node.mark)
    if list(networks) in ([ONE], []):
        chosen = {key: parts.get(ONE) for key, parts in named.items() if ONE in parts or found or not networks}
        parsed = {key: BROKEN if value is None else value for key, value in chosen.items()}
        return build(Train, whole, "train", problems, parsed=parsed)
    return _parse_train_of_each(whole, named, networks, bool(found), problems)


def _parse_train_of_each(
    node: Node,
    named: Mapping[str, Mapping[str, Any]],
    networks: Sequence[str],
    broken: bool,
    problems: list[Problem],
) -> Train | None:
    """Build the training of several networks, checked as that of each alone.

    A problem that all networks have is reported once, any other with the name of its network.
    """
    from .train import Train

    problems_by_network: dict[str, list[Problem]] = {}
    trains: list[Train | None] = []
    for name in networks:
        own = {key: parts[name] for key, parts in named.items() if name in parts}
        chosen = {key: BROKEN if value is None else value for key, value in own.items()}
        hidden = {key: BROKEN for key in named if broken}
        found = problems_by_network.setdefault(name, [])
        trains.append(build(Train, node, "train", found, parsed=hidden | chosen))
    for name, found in problems_by_network.items():
        for problem in found:
            if all(problem in others for others in problems_by_network.values()):
                problems += [problem] if problem not in problems else []
            else:
                problems.append(Problem(f"`{name}`: {problem.message}", problem.hint, problem.mark, problem.path))
    if broken or None in trains or trains[0] is None:
        return None
    return trains[0].by_network({key: dict(parts) for key, parts in named.items()})
