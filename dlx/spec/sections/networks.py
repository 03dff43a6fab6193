"""Several networks by name: `networks`, and what `init` and `train` say of each of them.

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
from ...registry import FAMILIES, Registry
from ..syntax.read import BROKEN, Node
from ..validation import build, choose, shown
from .expect import KEYS
from .kinds import OF_TRAIN
from .reserved_names import OF_DICTIONARIES, OF_MODULES

if TYPE_CHECKING:
    from .train import Train

ONE: Final = "network"
"""The name of the network that stands under `network`."""
MOST: Final = 100
RESERVED: Final = ("objective", ONE, "data", "x", "layers", "branches", "shortcut", "after", *KEYS)
BY_NETWORK: Final[Mapping[str, Registry[Any]]] = {field: FAMILIES[field] for field in OF_TRAIN}
"""Fields of `train` that hold a kind, or kinds by network."""


def networks_of(root: Node, problems: list[Problem]) -> dict[str, Node]:
    """The networks under `networks` by name; none where the spec has one `network`."""
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
        if why := _why_no_name(name):
            problems.append(Problem(f"a network cannot be called `{name}`", why, network.mark, f"networks.{name}"))
    return dict(node.map)


def names_of(root: Node, networks: Mapping[str, Node]) -> list[str]:
    """The names that kinds by network may have; none where `networks` is a mistake, so that they are not blamed."""
    if root.at("networks") is None:
        return [ONE]
    return [] if list(networks) == [ONE] else list(networks)


BESIDE: Final = "`networks` stands beside `network`"


def _why_no_name(name: str) -> str:
    """The way out where a network cannot be called that."""
    if name in RESERVED:
        of = "the keys of a claim under `expect`" if name in KEYS else "the spec's own words"
        return f"`{name}` is one of {of}: choose another name."
    if not name.isidentifier() or name.startswith("_") or iskeyword(name):
        return "Letters, digits and `_`, a letter first; no word of Python's."
    if name in OF_MODULES | OF_DICTIONARIES:
        return f"torch's modules use the word `{name}`: add a letter."
    for registry in (*BY_NETWORK.values(), INITIALIZERS):
        if name in registry:
            return f"{with_article(registry.noun).capitalize()} is called that, and both may be keys of one section."
    return ""


def by_network(
    registry: Registry[Any], node: Node, path: str, networks: Sequence[str], problems: list[Problem]
) -> dict[str, Node] | None:
    """The parts of `node` by network; None where it is to hold a kind.

    `networks` are the names that there are; without any, no name is a mistake. With one `network`, only its name
    makes a mapping one by network: every other word is taken for a kind. A mistake in the mapping goes to
    `problems`, and its part is left out.
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
        near = did_you_mean(name, [*networks, *registry])
        hint = near if near.startswith("Did") else did_you_mean(name, networks, "the networks")
        problems.append(Problem(message, hint, node.map[name].mark, where))
    return {name: node.map[name] for name in named}


def initializers(
    node: Node | None, networks: Sequence[str], problems: list[Problem]
) -> tuple[Initializer, dict[str, Initializer]]:
    """How the weights of all networks begin, and those of networks that are named."""
    if node is None:
        return Default(), {}
    parts = by_network(INITIALIZERS, node, "init", networks, problems)
    if parts is None:
        return choose(INITIALIZERS, node, "init", problems) or Default(), {}
    made = {name: choose(INITIALIZERS, part, f"init.{name}", problems) for name, part in parts.items()}
    chosen = {name: one for name, one in made.items() if one is not None}
    return (chosen.get(ONE) or Default(), {}) if list(networks) == [ONE] else (Default(), chosen)


def training(node: Node, networks: Sequence[str], problems: list[Problem]) -> Train | None:
    """The section `train`; None where `problems` had to be added."""
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
        given = {name: part for name, part in parts.items() if part.value is not None or key != "average"}
        named[key] = {name: choose(registry, part, f"{path}.{name}", found) for name, part in given.items()}
    problems += found
    if not named:
        return build(Train, node, "train", problems)
    whole = Node(rest, node.mark)
    if list(networks) in ([ONE], []):
        made = {key: parts.get(ONE) for key, parts in named.items() if ONE in parts or found or not networks}
        return build(Train, whole, "train", problems, made={k: BROKEN if v is None else v for k, v in made.items()})
    return _of_each(whole, named, networks, bool(found), problems)


def _of_each(
    node: Node,
    named: Mapping[str, Mapping[str, Any]],
    networks: Sequence[str],
    broken: bool,
    problems: list[Problem],
) -> Train | None:
    """The training of all networks, checked as that of each alone."""
    from .train import Train

    told: dict[str, list[Problem]] = {}
    trains: list[Train | None] = []
    for name in networks:
        own = {key: parts[name] for key, parts in named.items() if name in parts}
        made = {key: BROKEN if value is None else value for key, value in own.items()}
        hidden = {key: BROKEN for key in named if broken}
        trains.append(build(Train, node, "train", told.setdefault(name, []), made=hidden | made))
    for name, found in told.items():
        for problem in found:
            if all(problem in others for others in told.values()):
                problems += [problem] if problem not in problems else []
            else:
                problems.append(Problem(f"`{name}`: {problem.message}", problem.hint, problem.mark, problem.path))
    if broken or None in trains or trains[0] is None:
        return None
    return trains[0].by_network({key: dict(parts) for key, parts in named.items()})
