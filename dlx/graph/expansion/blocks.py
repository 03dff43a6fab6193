"""Checks of the declarations of blocks, before any is used."""

from __future__ import annotations

from ...errors import Mark, Problem, did_you_mean
from ...layers import LAYERS
from ...spec.syntax.read import Node
from ...spec.validation import closest_matches, shown
from .entries import STRUCTURES, why_no_name, why_no_variable
from .problems import Problems

FIELDS = ("args", "inputs", "layers")


def check_blocks(blocks: Node, problems: Problems) -> None:
    """Report mistakes in the section `blocks`; its layers are checked later, when shapes are known."""
    if not blocks.is_map and blocks.value is not None:
        message = f"`blocks` must be a mapping of names to blocks, not {shown(blocks.plain())}"
        problems.add(Problem(message, "Write `blocks: {name: {layers: [...]}}`.", blocks.mark, "blocks"))
    for name, block in blocks.map.items():
        if problems.full:
            break
        _check_name(name, block, problems)
        if block.is_map:
            _check_fields(name, block, problems)
            _check_args(name, block.map.get("args", Node(None, block.mark)), problems)
            _check_inputs(name, block, problems)
        else:
            message = f"a block must be a mapping with `layers`, not {shown(block.plain())}"
            problems.add(Problem(message, f"Write `{name}: {{layers: [...]}}`.", block.mark, f"blocks.{name}"))


def _check_name(name: str, block: Node, problems: Problems) -> None:
    why = why_no_name(name)
    if name in LAYERS or name in STRUCTURES:
        problems.add(
            Problem(f"the block `{name}` has the name of a layer", "Rename it.", block.mark, f"blocks.{name}")
        )
    elif why and not name.isidentifier():
        problems.add(Problem(f"a block cannot be called `{name}`{why[0]}", why[1], block.mark, f"blocks.{name}"))


def _check_fields(name: str, block: Node, problems: Problems) -> None:
    for key, child in block.map.items():
        if key not in FIELDS:
            hint = did_you_mean(key, FIELDS, "the fields")
            problems.add(Problem(f"a block has no field `{key}`", hint, child.mark, f"blocks.{name}.{key}"))
    if "layers" not in {*block.map, *closest_matches(block.map, FIELDS)}:
        hint = "Write what it runs: `layers: [...]`."
        problems.add(Problem(f"the block `{name}` has no `layers`", hint, block.mark, f"blocks.{name}"))


def _check_args(name: str, args: Node, problems: Problems) -> None:
    path = f"blocks.{name}.args"
    if not args.is_map and args.value is not None:
        message = f"`args` must be a mapping of names to defaults, not {shown(args.plain())}"
        hint = "Write `args: {width: null, stride: 1}`: null for those that must be given."
        problems.add(Problem(message, hint, args.mark, path))
    for arg, default in args.map.items():
        if why := why_no_variable(arg):
            problems.add(Problem(f"an argument cannot be called `{arg}`", why, default.mark, f"{path}.{arg}"))


def inputs_of(block: Node) -> tuple[list[str], Mark | None]:
    """Return the names of the inputs of a block, and their place; none where it has one input without a name."""
    node = block.map.get("inputs")
    if node is None:
        return [], None
    return [item.value for item in node.list if isinstance(item.value, str)], node.mark


def _check_inputs(name: str, block: Node, problems: Problems) -> None:
    inputs, path = block.map.get("inputs"), f"blocks.{name}.inputs"
    if inputs is None:
        return
    if not inputs.list:
        message = f"`inputs` of a block must be a list of names, not {shown(inputs.plain())}"
        hint = "Write `inputs: [query, memory]`; their shapes are those of what comes in."
        problems.add(Problem(message, hint, inputs.mark, path))
    args, seen = block.map.get("args", Node({}, block.mark)).map, dict[str, Node]()
    for index, item in enumerate(inputs.list):
        if not isinstance(item.value, str):
            problems.add(Problem(f"an input is a name, not {shown(item.plain())}", "", item.mark, f"{path}.{index}"))
        elif (why := why_no_name(item.value)) is not None:
            message = f"an input cannot be called `{item.value}`{why[0]}"
            problems.add(Problem(message, why[1], item.mark, f"{path}.{index}"))
        elif (other := args.get(item.value, seen.get(item.value))) is not None:
            is_arg = "an argument" if item.value in args else "an input"
            message = f"the input `{item.value}` is {is_arg} too{other.mark.on_line}"
            problems.add(Problem(message, "Rename one.", item.mark, f"{path}.{index}"))
        else:
            seen[item.value] = item
