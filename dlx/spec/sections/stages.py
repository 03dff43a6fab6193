"""The section `stages`: trainings one after the other in one run, each from the weights of the one before.

    stages:
      - {name: pretrain, data: {digits: {classes: [0, 1, 2, 3, 4]}}, train: {epochs: 20}}
      - {name: tune, freeze: [trunk], train: {epochs: 10}}

Each stage is merged onto the spec, not onto the stage before, as `defaults` are merged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from keyword import iskeyword

from ...errors import Problem, did_you_mean
from ..compose import merge
from ..syntax.read import Node
from ..validation import shown

PATH = "stages"
MOST = 100
MERGED = ("objective", "network", "networks", "data", "init", "weights", "freeze", "train")
"""Sections that a stage may have."""
WHOLE = ("seed", "seeds", "ensemble", "device", "threads")
"""Fields of `train` that are those of the whole run."""
PARTS = ("train", "valid", "test")
EITHER = (("steps", "epochs"), ("epochs", "steps"))


@dataclass(frozen=True)
class StageNode:
    """A stage: its name, and the spec that it is merged to."""

    name: str
    root: Node


def parse_stages(root: Node, problems: list[Problem]) -> list[StageNode]:
    """Return the stages of a spec; mistakes go to `problems`, and stages with one are left out."""
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
        if item.is_map and isinstance(name := item.map.get("name", Node(None, item.mark)).value, str):
            found.append(StageNode(name, _merged(root, item, first=not number)))
    return found


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
            hint = did_you_mean(key, ("name", *MERGED), "the keys of a stage")
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
    return merge(Node(base, root.mark), Node(own, item.mark))
