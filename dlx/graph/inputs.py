"""The input shapes of a network: from the spec, from the data, or from the command line (`--input`)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from keyword import iskeyword
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError, Mark, Problem, SpecError, did_you_mean, listed, shortened
from ..shapes import BYTES, Shape
from ..spec import Experiment
from ..spec.expressions import resolve
from ..spec.sections.networks import ONE
from ..spec.syntax.read import Node
from ..spec.validation import closest_matches, shown, unknown_keys
from .expansion.place import too_large

if TYPE_CHECKING:
    from ..data import Dataset, Facts
    from ..data.base import TextFacts
    from ..spec.sections.network_sources import NetworkSource


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


INSTEAD = {"copy", "from"}
"""Keys that stand in place of the layers of a network."""


def shapes_of(experiment: Experiment, facts: Facts | None, problems: list[Problem]) -> dict[str, Shape]:
    """Return the shapes in `network.inputs`, or else that of the data; mistakes are added to `problems`."""
    node, path = experiment.network.at("inputs"), ".".join((*experiment.where, "inputs"))
    if node is None:
        if facts is not None:
            return {name: one.shape for name, one in facts.inputs.items()}
        network, written = experiment.network, experiment.root.at(*experiment.where)
        if experiment.scope and INSTEAD & network.map.keys():
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
    whole = True
    for name, value in named.items():
        shape = None if value.broken else _shape(name, value, f"{path}.{name}", facts, problems)
        whole &= shape is not None
        if shape is not None:
            shapes[name] = shape
    if whole and facts is not None and not experiment.scope and _learns_targets(experiment):
        _compare_with_data(experiment, facts, shapes, problems)
    return shapes


def source_shapes(source: NetworkSource) -> dict[str, Shape]:
    """Return the input shapes that a network has in the run or the stage that it comes from."""
    from ..data import input_record

    view: Experiment = source.experiment.views()[source.network]
    of_data = not source.experiment.networks or view.network.at("inputs") is None
    if of_data and source.run is not None and (recorded := input_record.input_shapes(source.run)) is not None:
        return recorded
    return shapes_of(view, facts_of(view, []), [])


def fields_of(experiment: Experiment, facts: Facts | None, inputs: Iterable[str]) -> dict[str, str]:
    """Return the field of the data that each input of a network takes: `field`, or the one of its name.

    A network with one input takes the one input field, whatever it is called. Empty without data, and for inputs that
    an objective fills itself.
    """
    if facts is None:
        return {}
    names = list(inputs)
    said = {name: _said_field(experiment, name) for name in names}
    if len(names) == len(facts.inputs) == 1:
        return {names[0]: said[names[0]] or next(iter(facts.inputs))}
    return {name: said[name] or name for name in names}


def text_inputs(experiment: Experiment, facts: Facts | None, inputs: Iterable[str]) -> dict[str, TextFacts]:
    """Return the inputs of a network that are texts, by name."""
    if facts is None or not facts.texts:
        return {}
    taken = fields_of(experiment, facts, inputs)
    return {name: facts.texts[field] for name, field in taken.items() if field in facts.texts}


def _said_field(experiment: Experiment, name: str) -> str | None:
    node = experiment.network.at("inputs", name, "field")
    return node.value if node is not None and isinstance(node.value, str) else None


def _learns_targets(experiment: Experiment) -> bool:
    """Whether the network takes the inputs of the data: other objectives, and data with an order, pass their own."""
    from ..data import Dataset

    if experiment.data is not None and type(experiment.data).feed is not Dataset.feed:
        return False  # a training reports an objective that such data is not for
    from ..objectives import OBJECTIVES, Supervised

    if experiment.objective is None:
        # One with a mistake in it is as good as any: what would be compared follows from its kind
        kinds = [OBJECTIVES[name] for name in _kinds_named(experiment.root.at("objective")) if name in OBJECTIVES]
        return all(issubclass(kind, Supervised) for kind in kinds)
    return isinstance(experiment.objective, Supervised)


def _kinds_named(node: Node | None) -> list[str]:
    """Return the kinds that a section holds, read or not: `flow`, or `{flow: {...}}`."""
    if node is None:
        return []
    return list(node.map) if node.is_map else [str(node.value)]


def _shape(name: str, node: Node, path: str, facts: Facts | None, problems: list[Problem]) -> Shape | None:
    if not name.isidentifier() or iskeyword(name) or name in {"prev", "self"}:
        hint = "Letters, digits and `_`; no word of Python's."
        problems.append(Problem(f"an input cannot be called `{name}`", hint, node.mark, path))
    keys = ("shape", "dtype", "field")
    if node.is_map:
        unknown_keys(node, keys, path, "an input", problems)
        if "shape" in closest_matches(node.map, keys) - node.map.keys():
            return None
        if "field" in node.map and "shape" not in node.map and "dtype" not in node.map:
            return _shape_of_field(name, node.map["field"], f"{path}.field", facts, problems)
        if "shape" not in node.map:
            hint = "Write `{shape: [3, 224, 224], dtype: float}`."
            problems.append(Problem(f"the input `{name}` has no `shape`", hint, node.mark, path))
            return None
    return _written_shape(name, node, path, problems)


def _written_shape(name: str, node: Node, path: str, problems: list[Problem]) -> Shape | None:
    axes, dtype = (node.map.get("shape"), node.map.get("dtype")) if node.is_map else (node, None)
    kind = dtype.plain() if dtype is not None else "float"
    if not isinstance(kind, str) or kind not in BYTES:
        problems.append(Problem(f"`dtype` must be float, int or bool, not {shown(kind)}", "", node.mark, path))
        return None
    values = axes.plain() if axes is not None else None
    values = [values] if isinstance(values, int) and not isinstance(values, bool) else values
    if (
        not isinstance(values, list)
        or (not values and kind == "float")
        or not all(isinstance(v, int) and not isinstance(v, bool) and v > 0 for v in values)
    ):
        digits = re.fullmatch(r"\d+([x*, ]+\d+)+", values) if isinstance(values, str) else None
        like = re.findall(r"\d+", digits[0]) if digits else ["3", "224", "224"]
        hint = f"Channels first, without the batch: [{', '.join(like)}]."
        message = f"the shape of `{name}` must be whole numbers above 0, not {shown(values)}"
        problems.append(Problem(message, hint, node.mark, path))
        return None
    if message := too_large(f"the input `{name}`", values):
        problems.append(Problem(message, "Is a number too long?", node.mark, path))
        return None
    return Shape(values, str(kind))


def _shape_of_field(name: str, node: Node, path: str, facts: Facts | None, problems: list[Problem]) -> Shape | None:
    """Return the shape of the field that an input names, as the data has it."""
    field = str(node.value)
    if not isinstance(node.value, str):
        message = f"`field` must be the name of a field of the data, not {shown(node.plain())}"
        problems.append(Problem(message, "", node.mark, path))
    elif facts is None:
        hint = f"Write its shape too: `{name}: {{field: {field}, shape: [...]}}`."
        problems.append(
            Problem(f"the input `{name}` takes the field `{field}`, and there is no data", hint, node.mark, path)
        )
    elif field not in facts.inputs:
        message = f"the input `{name}` takes the field `{field}`, and the data has the inputs {listed(facts.inputs)}"
        problems.append(Problem(message, did_you_mean(field, facts.inputs), node.mark, path))
    else:
        return facts.inputs[field].shape
    return None


def _compare_with_data(
    experiment: Experiment, facts: Facts, shapes: Mapping[str, Shape], problems: list[Problem]
) -> None:
    """Add what does not fit between the inputs of the network and the input fields of the data, both ways."""
    taken, fields = fields_of(experiment, facts, shapes), facts.inputs
    inputs = experiment.network.at("inputs")
    assert inputs is not None
    assert experiment.data is not None
    kind = experiment.data.kind
    for name, field in taken.items():
        node = experiment.network.at("inputs", name)
        mark = node.mark if node is not None else inputs.mark
        if field not in fields:
            if _said_field(experiment, name) is None or experiment.network.at("inputs", name, "shape") is not None:
                data = experiment.place("data")
                message = f"no field of the data fills the input `{name}`: it has {listed(fields)} ({data})"
                hint = did_you_mean(field, fields) or f"Write `{name}: {{field: NAME}}`, or leave the input out."
                problems.append(Problem(message, hint, mark, f"network.inputs.{name}"))
            continue
        problems += _unlike(name, shapes[name], field, fields[field].shape, mark, several=len(fields) > 1)
    for field in (field for field in fields if field not in taken.values()):
        place = experiment.place("data", kind, "inputs", field)
        message = f"no input of the network takes the field `{field}`: it has {listed(shapes)} ({inputs.mark})"
        hint = f"Add `{field}: {{field: {field}}}` to the inputs of the network, or take it out of the data."
        problems.append(Problem(message, hint, place, f"data.{kind}.inputs.{field}"))


def _unlike(name: str, shape: Shape, field: str, found: Shape, mark: Mark, *, several: bool) -> Iterator[Problem]:
    """Yield the problems of an input whose shape or dtype is not that of its field."""
    gives = f"the data gives {{}} as `{field}`" if several else "the data gives {}"
    if shape.dtype != found.dtype:
        message = f"`inputs` says {shape.dtype} for `{name}`, and {gives.format(f'{found.dtype}s')}"
        yield Problem(message, OF_DTYPE.get((shape.dtype, found.dtype), ""), mark, "network.inputs")
    if tuple(shape) != tuple(found):
        message = f"`inputs` says {shape} for `{name}`, and {gives.format(found)}"
        hint = f"Write `{name}: {{field: {field}}}`: the data gives the shape." if several else OF_DATA
        yield Problem(message, hint, mark, "network.inputs")


OF_DATA = "Leave `inputs` out: the data gives the shape."
KEEP_INTEGERS = "`arrays` and `table` keep integers by `inputs: {NAME: {..., is: integers}}` of the data."
AS_VALUES = "`inputs: {NAME: {..., is: values}}` of the data makes floats of them, as the layer `to_float` does."
OF_DTYPE = {
    ("int", "float"): KEEP_INTEGERS,
    ("bool", "float"): KEEP_INTEGERS.replace("integers", "booleans"),
    ("float", "int"): AS_VALUES,
    ("float", "bool"): AS_VALUES,
}
"""The way out where an input and its field are of two dtypes, by what is wanted and what is given."""


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
