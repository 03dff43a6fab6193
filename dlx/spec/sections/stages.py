"""The section `stages`: trainings one after the other in one run, each from the weights of the one before.

    stages:
      - {name: pretrain, data: {digits: {classes: [0, 1, 2, 3, 4]}}, train: {epochs: 20}}
      - {name: tune, freeze: [trunk], train: {epochs: 10}}

Each stage is merged onto the spec, not onto the stage before, as `defaults` are merged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from keyword import iskeyword

from ...errors import Mark, Problem, did_you_mean
from ..compose import merge
from ..syntax.nodes import OVERRIDE
from ..syntax.read import Node
from ..validation import closest_matches, shown

PATH = "stages"
MOST = 100
MERGED = ("objective", "network", "networks", "data", "init", "weights", "freeze", "prune", "train")
"""Sections that a stage may have."""
WHOLE = ("seed", "seeds", "ensemble", "device", "threads")
"""Fields of `train` that are those of the whole run."""
PARTS = ("train", "valid", "test")
EITHER = (("steps", "epochs"), ("epochs", "steps"))


@dataclass(frozen=True)
class StageNode:
    """A stage: its name, the spec that it is merged to, and the marks of all that it writes itself."""

    name: str
    root: Node
    marks: frozenset[Mark]


def parse_stages(root: Node, problems: list[Problem]) -> list[StageNode]:
    """Return the stages of a spec; their mistakes go to `problems`. One without a legal name goes by its number."""
    node = root.map[PATH]
    if not node.is_list or not node.list or len(node.list) > MOST:
        message = f"`stages` must be a list of 1 to {MOST} stages, not {shown(node.plain())}"
        problems.append(
            Problem(message, "Write `stages: [{name: pretrain, train: {epochs: 5}}, ...]`.", node.mark, PATH)
        )
        return []
    found: list[StageNode] = []
    for number, item in enumerate(node.list):
        path = f"{PATH}.{number}"
        mistakes = list(_mistakes(item, path, [stage.name for stage in found]))
        problems += mistakes
        if item.is_map:
            name = item.map.get("name", item).value
            is_free = isinstance(name, str) and name not in {stage.name for stage in found}
            marks = frozenset(node.mark for node in item.walk())
            found.append(
                StageNode(str(name) if is_free else str(number), _merged(root, item, first=not number), marks)
            )
    return found


def unused(root: Node, stages: Sequence[StageNode]) -> frozenset[Mark]:
    """Return the marks of values of a spec that every stage replaces: no training reads them."""
    return frozenset(_unused(Node({k: n for k, n in root.map.items() if k in MERGED}, root.mark), stages, ()))


def _unused(node: Node, stages: Sequence[StageNode], path: tuple[str, ...]) -> Iterator[Mark]:
    for key, child in node.map.items():
        here = (*path, key)
        merged = [one for stage in stages if (one := stage.root.at(*here)) is not None]
        if not any(one.mark == child.mark or (one.is_map and child.is_map) for one in merged):
            yield from (one.mark for one in child.walk())
        elif child.is_map:
            yield from _unused(child, stages, here)


def without_effect(root: Node, stages: Mapping[str, Node]) -> Iterator[Problem]:
    """Yield a warning for each override of a spec that some of its stages, merged to `stages`, do not follow."""
    for path, node in _overridden(Node({key: one for key, one in root.map.items() if key in MERGED}, root.mark), ()):
        merged = {name: stage.at(*path) for name, stage in stages.items()}
        own = [name for name, one in merged.items() if one is None or all(n.mark != node.mark for n in one.walk())]
        if own:
            words, dotted = " and ".join(f"`{name}`" for name in own), ".".join(map(str, path))
            what = f"the stages {words}, which have their own" if own[1:] else f"the stage {words}, which has its own"
            hint = f"What a stage has itself is set there: `{PATH}.{own[0]}.{dotted}=...`."
            yield Problem(f"this changes nothing of {what}", hint, node.mark, dotted)


def _overridden(node: Node, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Node]]:
    """Yield what overrides have set, each value as a whole."""
    if node.mark.file.startswith(OVERRIDE):
        yield path, node
        return
    below: list[tuple[str | int, Node]] = [*node.map.items(), *enumerate(node.list)]
    for key, child in below:
        yield from _overridden(child, (*path, key))


def problems_of_all(found: Mapping[str, Sequence[Problem]], marks: Mapping[str, frozenset[Mark]]) -> list[Problem]:
    """Return the problems of stages by their names, each once: what is shared by all stages is one problem.

    One at a place that a stage has written itself gets the path there; one at a place that is shared by all, and that
    is not a problem to all of them, names the stages.
    """
    stages = dict[Problem, list[str]]()
    for name, problems in found.items():
        for problem in dict.fromkeys(problems):
            stages.setdefault(problem, []).append(name)
    return [_of_stages(problem, names, len(marks), marks) for problem, names in stages.items()]


def _of_stages(problem: Problem, names: list[str], count: int, marks: Mapping[str, frozenset[Mark]]) -> Problem:
    if len(names) == count:
        return problem
    owner = next((name for name in names if problem.mark in marks[name]), None)
    if owner is not None:
        return replace(problem, path=f"{PATH}.{owner}.{problem.path}".rstrip("."))
    words = " and ".join(f"`{name}`" for name in names)
    return replace(problem, message=f"stage{'s' if names[1:] else ''} {words}: {problem.message}")


def _mistakes(item: Node, path: str, names: list[str]) -> Iterator[Problem]:
    if not item.is_map:
        hint = "Write `{name: pretrain, train: {epochs: 5}}`."
        yield Problem(f"a stage must be a mapping, not {shown(item.plain())}", hint, item.mark, path)
        return
    name = item.at("name")
    if name is None or not isinstance(name.value, str):
        yield Problem("a stage has no `name`", "It is the name of its curves: `name: pretrain`.", item.mark, path)
    elif not name.value.isidentifier() or iskeyword(name.value) or name.value in PARTS:
        hint = "Letters, digits and `_`, a letter first; not train, valid or test."
        yield Problem(f"a stage cannot be called `{name.value}`", hint, name.mark, f"{path}.name")
    elif name.value in names:
        yield Problem(
            f"two stages are called `{name.value}`", "Give each a name of its own.", name.mark, f"{path}.name"
        )
    for key, child in item.map.items():
        if key != "name" and key not in MERGED:
            from .train import Train  # not at the top: only a mistake needs its fields

            near = closest_matches([key], Train.model_fields)
            inside = f"It stands inside `train`: `train: {{{next(iter(near))}: ...}}`." if near else ""
            hint = inside or did_you_mean(key, ("name", *MERGED), "the keys of a stage")
            yield Problem(f"a stage has no `{key}`", hint, child.mark, f"{path}.{key}")
    train = item.at("train")
    for key, child in (train.map if train is not None else {}).items():
        if key in WHOLE:
            message = f"`{key}` is one for all stages, and stands in one"
            yield Problem(
                message, f"Write `train: {{{key}: ...}}` beside `stages`.", child.mark, f"{path}.train.{key}"
            )


def _merged(root: Node, item: Node, *, first: bool) -> Node:
    """Return the spec of one stage, without `stages`: what the stage writes replaces what the spec says."""
    base = {key: node.copy() for key, node in root.map.items() if key not in {PATH, "sweep"}}
    own = {key: node.copy() for key, node in item.map.items() if key in MERGED}
    if not first:
        base.pop("weights", None)  # they are those of the start: later stages go on from the stage before
    for one, other in (("network", "networks"), ("networks", "network")):
        if one in own and other not in own:
            base.pop(other, None)
    train, written = base.get("train"), own.get("train")
    if train is not None and train.is_map and written is not None and written.is_map:
        for one, other in EITHER:
            if one in written.map and other not in written.map:
                base["train"] = replace(train, value={k: n for k, n in train.map.items() if k != other})
                train = base["train"]
    if own.get("weights") is not None and own["weights"].value is None:
        own.pop("weights")
    return merge(Node(base, root.mark), Node(own, root.mark))
