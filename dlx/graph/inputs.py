"""The input shapes of a network: from the spec, from the data, or from the command line (`--input`)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from keyword import iskeyword
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError, Mark, Problem, SpecError, did_you_mean, shortened
from ..shapes import BYTES, Shape
from ..spec import Experiment
from ..spec.expressions import resolve
from ..spec.sections.networks import ONE
from ..spec.syntax.read import Node
from ..spec.validation import closest_matches, shown, unknown_keys
from .expansion.place import too_large

if TYPE_CHECKING:
    from ..data import Dataset, Facts


def facts_of(experiment: Experiment, problems: list[Problem]) -> Facts | None:
    """Return the facts of the data after augmentation; None without data.

    Where the data cannot be read the reasons are added to `problems`, and None is returned.
    """
    if experiment.data is None:
        return None
    try:
        facts = experiment.data.facts()
    except DataError as error:
        problems += [of_data(problem, experiment, experiment.data) for problem in error.problems]
        return None
    if experiment.train is None or not (experiment.train.augment or experiment.train.test_time):
        return facts
    from ..spec.sections.augmentation import facts_after

    facts, against = facts_after(experiment, experiment.train, facts)
    problems += against
    return facts


def of_data(problem: Problem, experiment: Experiment, data: Dataset) -> Problem:
    """Place a problem of the data at the field whose file it names, or else at the section `data`."""
    files = [
        name
        for name in type(data).model_fields
        if isinstance(path := getattr(data, name), Path) and str(path) in problem.message
    ]
    keys = ("data", data.kind, *files[:1])
    return replace(problem, mark=problem.mark or experiment.place(*keys), path=problem.path or ".".join(keys))


LATER = {"copy": "copies of a network", "follow": "copies of a network", "from": "networks of a run"}
"""Keys of a network that are reserved for later, and what they will describe."""


def shapes_of(experiment: Experiment, facts: Facts | None, problems: list[Problem]) -> dict[str, Shape]:
    """Return the shapes in `network.inputs`, or else that of the data; mistakes are added to `problems`."""
    node, path = experiment.network.at("inputs"), ".".join((*experiment.where, "inputs"))
    if node is None:
        if facts is not None:
            return {"input": facts.input}
        network, written = experiment.network, experiment.root.at(*experiment.where)
        if experiment.scope and LATER.keys() & network.map.keys():
            return {}
        if network.is_map and written and experiment.root.at("data") is None:
            name = experiment.where[-1]
            hint = f"Write `inputs: {{image: [3, 224, 224]}}` under `{name}`, or name the `data`."
            what = f"the network `{name}`" if experiment.scope else "the network"
            problems.append(Problem(f"{what} has no inputs", hint, experiment.network.mark, path))
        return {}

    def failed(error: object, at: Node) -> None:
        problems.append(Problem(str(error), getattr(error, "hint", ""), at.mark, path))

    node = resolve(node, experiment.vars, failed)
    named = node.map if node.is_map and "shape" not in node.map else {"input": node}
    if not named:
        hint = "Write `inputs: {image: [3, 224, 224]}`."
        problems.append(Problem("`inputs` names no input", hint, node.mark, path))
    shapes: dict[str, Shape] = {}
    for name, value in named.items():
        if not value.broken and (shape := _shape(name, value, f"{path}.{name}", problems)) is not None:
            shapes[name] = shape
    if not experiment.scope and _learns_targets(experiment):
        _compare_with_data(facts, shapes, node.mark, problems)
    return shapes


def _learns_targets(experiment: Experiment) -> bool:
    """Whether the network takes the input of the data; other objectives pass inputs of their own."""
    if experiment.objective is None:
        return True
    from ..objectives import Supervised

    return isinstance(experiment.objective, Supervised)


def _shape(name: str, node: Node, path: str, problems: list[Problem]) -> Shape | None:
    if not name.isidentifier() or iskeyword(name) or name in {"prev", "self"}:
        hint = "Letters, digits and `_`; no word of Python's."
        problems.append(Problem(f"an input cannot be called `{name}`", hint, node.mark, path))
    if node.is_map:
        unknown_keys(node, ("shape", "dtype"), path, "an input", problems)
    if node.is_map and "shape" in closest_matches(node.map, ("shape", "dtype")) - node.map.keys():
        return None
    if node.is_map and "shape" not in node.map:
        hint = "Write `{shape: [3, 224, 224], dtype: float}`."
        problems.append(Problem(f"the input `{name}` has no `shape`", hint, node.mark, path))
        return None
    axes, dtype = (node.map.get("shape"), node.map.get("dtype")) if node.is_map else (node, None)
    kind = dtype.plain() if dtype is not None else "float"
    if not isinstance(kind, str) or kind not in BYTES:
        problems.append(Problem(f"`dtype` must be float, int or bool, not {shown(kind)}", "", node.mark, path))
        return None
    values = axes.plain() if axes is not None else None
    values = [values] if isinstance(values, int) and not isinstance(values, bool) else values
    if (
        not isinstance(values, list)
        or not values
        or not all(isinstance(v, int) and not isinstance(v, bool) and v > 0 for v in values)
    ):
        hint = "Channels first, without the batch: [3, 224, 224]."
        message = f"the shape of `{name}` must be whole numbers above 0, not {shown(values)}"
        problems.append(Problem(message, hint, node.mark, path))
        return None
    if message := too_large(f"the input `{name}`", values):
        problems.append(Problem(message, "Is a number too long?", node.mark, path))
        return None
    return Shape(values, str(kind))


def _compare_with_data(facts: Facts | None, shapes: Mapping[str, Shape], mark: Mark, problems: list[Problem]) -> None:
    if facts is None or len(shapes) != 1:
        return
    (name, shape), *_ = shapes.items()
    if shape.dtype != "float":
        message = f"`inputs` says {shape.dtype} for `{name}`, and data sets give floats"
        problems.append(Problem(message, FLOATS_ALONE, mark, "network.inputs"))
    if tuple(shape) != tuple(facts.input):
        message = f"`inputs` says {shape} for `{name}`, and the data gives {facts.input}"
        problems.append(Problem(message, "Leave `inputs` out: the data gives the shape.", mark, "network.inputs"))


FLOATS_ALONE = (
    "Inputs that are integers or truth values cannot be trained on yet. For an `embedding`, give one-hot vectors in "
    "the data, and a `linear` without bias: it learns the same rows."
)


def all_input_shapes(experiment: Experiment, texts: Sequence[str]) -> dict[str, dict[str, Shape]]:
    """Return `input_shapes` by network; with several, a text begins with the name of one: `critic/image=3x64x64`.

    Errors: SpecError where a text names no network, or is no shape of one of its inputs.
    """
    if not experiment.networks:
        return {ONE: input_shapes(experiment, texts)} if texts else {}
    views, by_network, problems = experiment.views(), dict[str, list[str]](), list[Problem]()
    for text in texts:
        network, found, rest = text.partition("/")
        if not found or network not in views:
            names = ", ".join(f"`{name}`" for name in views)
            hint = f"Say of which network: `--input {next(iter(views))}/{text}`."
            problems.append(Problem(f"there are several networks: {names}", hint, Mark(f"--input {shortened(text)}")))
        by_network.setdefault(network, []).append(rest)
    if problems:
        raise SpecError(*problems)
    return {name: input_shapes(views[name], each) for name, each in by_network.items()}


def input_shapes(experiment: Experiment, texts: Sequence[str]) -> dict[str, Shape]:
    """Return the shapes of all inputs, replaced by texts such as `3x512x512` or `image=3x512x512`.

    The dtypes stay as the spec has them. Errors: SpecError where a text is no shape, or of no input.
    """
    if not texts:
        return {}
    mistakes: list[Problem] = []
    known = shapes_of(experiment, facts_of(experiment, []), mistakes)
    problems = mistakes if known else []
    shapes, replaced = known or {"input": Shape([1])}, set[str]()
    for text in texts:
        try:
            name, axes = _parse_input(text, list(shapes))
        except SpecError as error:
            problems += error.problems
            continue
        if name in replaced:
            problems.append(Problem(f"`{name}` is given twice", "Keep one of the two.", Mark(f"--input {text}")))
        replaced.add(name)
        shapes = shapes | {name: Shape(axes, shapes[name].dtype)}
    if problems:
        raise SpecError(*problems)
    return shapes


def _parse_input(text: str, names: Sequence[str]) -> tuple[str, list[int]]:
    """Parse a text of `--input`: the name of the input, and its axes."""
    name, axes = ("", text) if "=" not in text else (text.partition("=")[0], text.partition("=")[2])
    mark, example = Mark(f"--input {shortened(text)}"), f"{name or (names[0] if len(names) > 1 else '')}=3x512x512"
    parts = axes.lower().split("x")
    if name and name not in names:
        raise SpecError(Problem(f"the network has no input `{name}`", did_you_mean(name, names), mark))
    if not name and len(names) > 1:
        hint = f"Say which: `--input {example}`, once for each that changes."
        raise SpecError(Problem(f"the network has {len(names)} inputs: {', '.join(names)}", hint, mark))
    if not all(re.fullmatch("[0-9]{1,19}", part) and int(part) > 0 for part in parts):
        hint = f"Write it as `--input {example.lstrip('=')}`."
        raise SpecError(Problem(f"{shown(axes)} is not a shape", hint, mark))
    if message := too_large("the input", [int(part) for part in parts]):
        raise SpecError(Problem(message, "Is a number too long?", mark))
    return name or names[0], [int(part) for part in parts]
