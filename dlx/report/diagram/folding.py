"""Which blocks of a diagram are open, by themselves or as asked for by level and by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ...errors import DlxError, Problem, did_you_mean
from ...graph import Graphs
from .blocks import Block, Opened, blocks, walk

MOST_BOXES: Final = 32
"""Blocks are open by themselves, level by level, as long as there are no more boxes than this."""
EVERYTHING: Final = "all"


@dataclass(frozen=True)
class Folding:
    """What is asked for: a level, blocks that are folded and that are not, each by its name in the spec or `all`."""

    depth: int | None = None
    folded: tuple[str, ...] = ()
    unfolded: tuple[str, ...] = ()


def opened(graphs: Graphs, folding: Folding) -> Mapping[str, tuple[Block, Opened]]:
    """Return for each network its boxes, and which of its blocks are open.

    Errors: DlxError for names that no block has, all at once.
    """
    trees = {name: blocks(graph) for name, graph in graphs.items()}
    folded, unfolded = (_named(graphs, trees, names, option) for option, names in _by_option(folding))
    for name, tree in trees.items():
        _check_inside(graphs, name, tree, folded, unfolded)
    return {name: (tree, _rule(tree, folding, folded, unfolded)) for name, tree in trees.items()}


def _by_option(folding: Folding) -> Sequence[tuple[str, tuple[str, ...]]]:
    both = set(folding.folded) & set(folding.unfolded)
    if both:
        raise DlxError(f"`--fold` and `--unfold` both name `{min(both)}`", hint="Leave one of them out.")
    return (("--fold", folding.folded), ("--unfold", folding.unfolded))


def _check_inside(
    graphs: Graphs, network: str, tree: Block, folded: frozenset[int], unfolded: frozenset[int]
) -> None:
    """Raise a DlxError where a block is to be folded and one inside it open."""
    for outer in walk(tree):
        inner = next((one for one in walk(outer) if id(one) in unfolded and one is not outer), None)
        if id(outer) in folded and inner is not None:
            closed, opened = (graphs.full(network, one.name) for one in (outer, inner))
            message = f"`--fold {closed}` closes what is around the block of `--unfold {opened}`"
            raise DlxError(message, hint="Leave one of them out.")


def _rule(tree: Block, folding: Folding, folded: frozenset[int], unfolded: frozenset[int]) -> Opened:
    depths = dict(_depths(tree))
    above = frozenset(id(one) for one in walk(tree) if any(id(inner) in unfolded for inner in walk(one)))
    level = len(depths) if EVERYTHING in folding.unfolded else 0 if EVERYTHING in folding.folded else folding.depth
    level = level_of(tree) if level is None else level
    return lambda block: id(block) in above or (id(block) not in folded and depths[id(block)] <= level)


def _depths(block: Block, depth: int = 0) -> Iterator[tuple[int, int]]:
    yield id(block), depth
    for item in block.items:
        if isinstance(item, Block):
            yield from _depths(item, depth + 1)


def count(block: Block, level: int) -> int:
    """Return how many boxes are drawn where blocks are open down to a level; 0 opens none."""
    return sum(count(item, level - 1) if isinstance(item, Block) and level > 0 else 1 for item in block.items)


def level_of(block: Block) -> int:
    """Return the deepest level down to which blocks are open by themselves."""
    deepest = max(depth for _, depth in _depths(block))
    return max((level for level in range(deepest + 1) if count(block, level) <= MOST_BOXES), default=0)


def _named(graphs: Graphs, trees: Mapping[str, Block], names: Sequence[str], option: str) -> frozenset[int]:
    """Return the blocks of these names, by their identity."""
    found, problems = set[int](), list[Problem]()
    for name in names:
        if name != EVERYTHING:
            block = _find(graphs, trees, name)
            problems += [] if block else [_unknown(graphs, trees, name, option)]
            found |= {id(block)} if block else set()
    if problems:
        raise DlxError(*problems)
    return frozenset(found)


def _find(graphs: Graphs, trees: Mapping[str, Block], name: str) -> Block | None:
    """Return the block of a name in the spec, or the one that stands for it where equal ones are drawn as one."""
    for network, tree in trees.items():
        inside = name if graphs.is_one else name.removeprefix(f"{network}/")
        if inside == name and not graphs.is_one:
            continue
        first = next((node.name for node in graphs[network].nodes if node.name.startswith(f"{inside}/")), None)
        scope = "/".join(_shown_as(tree, first).split("/")[: inside.count("/") + 1]) if first else ""
        for block in walk(tree) if scope else ():
            if block.name == scope:
                return block
    return None


def _shown_as(block: Block, name: str) -> str:
    """Return the name of the layer that is drawn for one in a later repetition."""
    name = block.first[block.place(name)].name
    for item in block.items:
        if isinstance(item, Block) and any(node.name == name for node in item.nodes):
            return _shown_as(item, name)
    return name


def _unknown(graphs: Graphs, trees: Mapping[str, Block], name: str, option: str) -> Problem:
    full = {graphs.full(network, block.name) for network, tree in trees.items() for block in walk(tree) if block.name}
    if any(name in (node, node.rpartition("/")[0]) for node, _ in graphs.nodes()):
        return Problem(f"`{option} {name}`: `{name}` is one box, with nothing to fold or unfold")
    hint = did_you_mean(name, full, "blocks") or "This spec has no blocks."
    return Problem(f"`{option} {name}`: there is no block `{name}`", hint)
