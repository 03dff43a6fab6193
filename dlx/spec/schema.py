"""The JSON schema of a spec (draft 7, which editors read), generated from the classes."""

from __future__ import annotations

from typing import Any

from ..layers import LAYERS
from ..registry import FAMILIES, Declared, Registry, Strict
from .section_names import SECTIONS
from .sections.followers import Follow
from .sections.freeze import Freeze
from .sections.initial_weights import InitialWeights
from .sections.network_sources import FromRun
from .sections.networks import BY_NETWORK
from .sections.prune import Prune
from .sections.stages import MERGED
from .sections.sweep import Sweep
from .sections.track import Track
from .sections.train import Train
from .validation import choice_of, is_listed, is_mapped, section_at, section_in

Json = dict[str, Any]

EXPRESSION: Json = {"type": "string", "pattern": r"\$\{", "description": "an expression, ${...}"}


def schema() -> Json:
    """Build the schema of a whole spec."""
    definitions: Json = {"expression": EXPRESSION, "layers": _layers(), "entry": _entry(), "shape": _shape()}
    for name, registry in FAMILIES.items():
        for kind in registry:
            definitions[f"{name}.{kind}"] = options_of(registry[kind])
        definitions[name] = _choice(name, registry)
    definitions["train"], definitions["track"] = section_of(Train), section_of(Track)
    fields = definitions["train"]["properties"]
    for name, registry in BY_NETWORK.items():
        fields[name] = by_network(_name_of(registry), registry, fields[name])
    definitions["sweep"] = section_of(Sweep)
    word: Json = {"type": "string"}
    definitions["network"] = _object(
        {
            "inputs": {"anyOf": [_map(_ref("shape")), _ref("shape")]},
            "layers": _ref("layers"),
            "outputs": {"anyOf": [_map(word), {"type": "array", "items": word}, word]},
        }
    )
    copied = _object(
        {"copy": {**word, "description": "the network that it is of"}, "follow": section_of(Follow)}, ["copy"]
    )
    definitions["networks"] = _map({"anyOf": [_ref("network"), section_of(FromRun), copied]})
    parts = {"args": {"type": ["object", "null"]}, "inputs": {"type": "array", "items": word}}
    definitions["block"] = _object({**parts, "layers": _ref("layers")}, ["layers"])
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "dlx spec",
        "type": "object",
        "properties": _sections(),
        "additionalProperties": False,
        "definitions": definitions,
    }


def _sections() -> Json:
    frozen: list[Json] = [{"type": "string"}, section_of(Freeze)]
    merged = {name: _ref(name) for name in MERGED if name not in {"init", "weights", "freeze", "prune"}}
    stage = _object({"name": {"type": "string"}, **merged}, ["name"])
    known: Json = {
        "dlx": {"const": 1, "description": "version of the format"},
        "name": {"type": "string", "description": "names the runs; else the file's name"},
        "source": {"type": "string", "description": "where the network comes from"},
        "defaults": {
            "type": "array",
            "items": {"anyOf": [{"type": "string"}, _map({"type": ["string", "null"]})]},
            "description": "files merged under this one",
        },
        "plugins": {
            "type": "array",
            "items": {"anyOf": [{"type": "string"}, *(_plugin(name) for name in ("file", "module"))]},
            "description": "files and modules with kinds of your own",
        },
        "vars": {"type": "object", "description": "names for ${...}"},
        "blocks": _map(_ref("block")),
        "baselines": {
            "type": "array",
            "items": _ref("baseline"),
            "description": "estimators that `dlx baseline` fits to the data",
        },
        "objective": by_network("objective", FAMILIES["objective"], _ref("objective"), "output"),
        "init": by_network("init", FAMILIES["init"], _ref("init")),
        "weights": section_of(InitialWeights),
        "stages": {"type": "array", "items": stage, "description": "trainings one after the other in one run"},
        "freeze": {"anyOf": [*frozen, {"type": "array", "items": {"anyOf": frozen}}]},
        "prune": section_of(Prune),
        "expect": {"type": "object", "description": "what must come out"},
        "recorded": {"type": "object", "description": "what came out in trainings of one's own, as `expect` has it"},
        "analyses": {
            **_map({"anyOf": [_ref("analysis"), {"type": "null"}]}),
            "description": "analyses by name, for `dlx report` and claims `analysis/NAME/FIGURE`",
        },
    }
    stage["properties"] |= {name: known[name] for name in MERGED if name in known}
    return {name: known.get(name, _ref(name)) for name in SECTIONS}


def _plugin(name: str) -> Json:
    """Build the schema of an entry of `plugins`: a file or module with its digest."""
    digest: Json = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
    return _object({name: {"type": "string"}, "sha256": digest}, [name])


def _layers() -> Json:
    return {"anyOf": [{"type": "array", "items": _ref("entry")}, _ref("entry")]}


def _entry() -> Json:
    """Build the schema of an entry of a list of layers: a word, or a kind with its options and `name`, `from`, ..."""
    beside: Json = {
        "name": {"type": "string", "description": "what other nodes call this one"},
        "from": {
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}, _map({"type": "string"})],
            "description": "the nodes it takes, as a list or by input; else the one above",
        },
        "when": {"type": ["boolean", "string", "number"], "description": "leave it out where this is false"},
        "values": {"type": "object", "description": "given weights"},
        "tie": {"type": "string", "description": "a linear layer or embedding whose weight this one runs"},
    }
    layers = _ref("layers")
    generated = [
        _object({"for": {"type": "object"}, "index": {"type": "string"}, "layers": layers}, ["for", "layers"])
    ]
    generated.append(_object({"repeat": {"type": "object"}}, ["repeat"]))
    branches: Json = {"anyOf": [{"type": "array", "items": layers}, *generated, _ref("expression")]}
    structures: Json = {
        "residual": _object(
            {"layers": layers, "shortcut": layers, "merge": _ref("entry"), "after": layers}, ["layers"]
        ),
        "parallel": _object({"branches": branches, "merge": _ref("entry"), "after": layers}, ["branches"]),
        "repeat": _object(
            {
                "times": _or_expression({"type": "integer", "minimum": 0}),
                "layers": layers,
                "index": {"type": "string"},
            },
            ["times", "layers"],
        ),
        "for": {"type": "object", "description": "lists to walk in step, beside `layers`"},
        "index": {"type": "string", "description": "what a `for` beside it calls its counter, else `i`"},
        "layers": layers,
        "share": {"type": "string", "description": "run the weights of this node or scope again"},
    }
    kinds = {kind: _described(f"layer.{kind}", LAYERS[kind]) for kind in LAYERS}
    blocks: Json = {"description": "a block, with its arguments"}
    return {
        "anyOf": [
            {"type": "string"},
            {"type": "object", "properties": {**beside, **structures, **kinds}, "additionalProperties": blocks},
        ]
    }


def by_network(name: str, registry: Registry[Any], choice: Json, of: str = "network") -> Json:
    """Allow kinds by the name of the network, or of the output, in place of one kind."""
    # `average: {generator: null}` is a network without an average; the others have no null.
    kinds = _map({"anyOf": [_ref(name), {"type": "null"}]} if name == "average" else _ref(name))
    # A mapping with a kind among its keys is read as that kind, and not by network.
    named = kinds | {"propertyNames": {"not": {"enum": list(registry)}}, "minProperties": 1}
    return {"anyOf": [choice, named | {"description": f"{registry.noun} by {of}"}]}


def _described(name: str, cls: type[Declared]) -> Json:
    return {"description": cls.summary(), "allOf": [_ref(name)]}


def _choice(name: str, registry: Registry[Any]) -> Json:
    """Build the schema of a choice by kind, alone or with its options."""
    kinds = {kind: _described(f"{name}.{kind}", registry[kind]) for kind in registry}
    return {
        "anyOf": [
            {"enum": list(registry)},
            _ref("expression"),
            {
                "type": "object",
                "properties": kinds,
                "additionalProperties": False,
                "minProperties": 1,
                "maxProperties": 1,
            },
        ]
    }


def options_of(cls: type[Declared]) -> Json:
    """Build the schema of the options of one kind: a mapping, null, or a bare value for the first field."""
    body = section_of(cls)
    first = cls.first_field()
    # A bare value leaves no way to set a second required field.
    bare = [_bare(cls, first, body)] if first and body.get("required", [first]) == [first] else []
    nothing = [] if "required" in body else [{"type": "null"}]
    return {"anyOf": [*nothing, *bare, body], "description": cls.summary()}


def _bare(cls: type[Declared], first: str, body: Json) -> Json:
    """Build the schema of a bare value for the first field; a mapping is read as fields, so a choice is a word."""
    registry = choice_of(cls, first)
    several = is_listed(cls, first) or is_mapped(cls, first)
    return body["properties"][first] if registry is None or several else {"enum": list(registry)}


def section_of(cls: type[Strict]) -> Json:
    """Build the schema of a pydantic model, with expressions allowed for every value and choices by reference."""
    inner = {name: part for name in cls.model_fields if (part := section_in(cls, name)) is not None}
    single = {name: part for name in cls.model_fields if (part := section_at(cls, name)) is not None}
    others = {*_choices(cls), *inner, *single}
    plain = _without(cls, others) if others else cls.model_json_schema()
    fields = _inlined(plain.get("properties", {}), plain.get("$defs", {}))
    properties = {name: _or_expression(field) for name, field in fields.items()}
    for name, target in _choices(cls).items():
        one = _ref(target)
        several = {"type": "array", "items": one} if is_listed(cls, name) else _map(one)
        whole = several if is_listed(cls, name) or is_mapped(cls, name) else one
        optional = cls.model_fields[name].default is None
        properties[name] = {"anyOf": [whole, {"type": "null"}]} if optional else whole
    for name, part in inner.items():
        about = cls.model_fields[name].description or ""
        properties[name] = {"type": "array", "items": section_of(part), "description": about}
    for name, part in single.items():
        body = options_of(part)["anyOf"] if issubclass(part, Declared) else [section_of(part)]
        about = cls.model_fields[name].description or ""
        properties[name] = {"anyOf": [*body, {"type": "null"}], "description": about}
    of_data = getattr(cls, "from_data", {})
    return _object(properties, [name for name in plain.get("required", []) if name not in of_data])


def _inlined(value: Any, models: Json) -> Any:
    """Write the models that pydantic refers to in their places, with expressions allowed for each of their values."""
    if isinstance(value, list):
        return [_inlined(each, models) for each in value]
    if not isinstance(value, dict):
        return value
    beside = {key: _inlined(each, models) for key, each in value.items() if key != "$ref"}
    if "$ref" not in value:
        return beside
    body = models[value["$ref"].removeprefix("#/$defs/")]
    if "properties" not in body:
        return body | beside
    fields = _inlined(body["properties"], models)
    return _object({name: _or_expression(each) for name, each in fields.items()}, body.get("required")) | beside


def _choices(cls: type[Strict]) -> dict[str, str]:
    """Return the fields that choose from a registry, and the name of its definition."""
    found = {}
    for name in cls.model_fields:
        registry = choice_of(cls, name)
        if registry is not None:
            found[name] = _name_of(registry)
    return found


def _name_of(registry: Registry[Any]) -> str:
    return next(key for key, value in FAMILIES.items() if value is registry)


def _without(cls: type[Strict], excluded: set[str]) -> Json:
    """Return pydantic's schema of a model without some fields, whose types it cannot describe."""
    from pydantic import create_model

    rest: dict[str, Any] = {
        name: (info.annotation, info) for name, info in cls.model_fields.items() if name not in excluded
    }
    model: Any = create_model(cls.__name__, **rest)
    body: Json = model.model_json_schema()
    return body


def _or_expression(field: Json) -> Json:
    """Allow an expression in place of a value."""
    if field.get("type") == "string" and "pattern" not in field and "enum" not in field:
        return field
    field = _with_expressions_in_lists(field)
    about: Json = {key: field[key] for key in ("description", "default") if key in field and _writable(field[key])}
    rest: Json = {key: value for key, value in field.items() if key not in {"description", "default", "title"}}
    return {**about, "anyOf": [rest, _ref("expression")]}


def _with_expressions_in_lists(field: Json) -> Json:
    """Allow expressions for the items of lists in a schema."""
    if "anyOf" in field:
        return field | {"anyOf": [_with_expressions_in_lists(branch) for branch in field["anyOf"]]}
    return field | {"items": _or_expression(field["items"])} if isinstance(field.get("items"), dict) else field


def _writable(value: Any) -> bool:
    return isinstance(value, str | int | float | bool | list | dict) or value is None


def _shape() -> Json:
    axes = {"type": "array", "items": _or_expression({"type": "integer", "minimum": 1}), "minItems": 1}
    full = _object({"shape": {**axes, "minItems": 0}, "dtype": {"enum": ["float", "int", "bool"]}}, ["shape"])
    return {"anyOf": [axes, {"type": "integer", "minimum": 1}, _ref("expression"), full]}


def _object(properties: Json, required: list[str] | None = None) -> Json:
    body: Json = {"type": "object", "properties": properties, "additionalProperties": False}
    return body | ({"required": required} if required else {})


def _map(values: Json) -> Json:
    return {"type": "object", "additionalProperties": values}


def _ref(name: str) -> Json:
    return {"$ref": f"#/definitions/{name}"}
