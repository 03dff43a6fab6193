"""The JSON schema that editors check a spec with: it takes what dlx takes, and marks what dlx refuses."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from commands import dlx
from helpers import SHIPPED
from jsonschema import Draft7Validator

from dlx.layers import LAYERS
from dlx.registry import FAMILIES
from dlx.spec.schema import schema
from dlx.spec.section_names import SECTIONS
from dlx.spec.starter import TOML, YAML
from dlx.spec.syntax.read import read

SCHEMA = schema()
VALIDATOR = Draft7Validator(SCHEMA)
NETWORK = {"inputs": {"image": [3, 8, 8]}, "layers": ["relu"]}


def of_entry(entry: Any) -> dict[str, Any]:
    return {"network": {"inputs": {"image": [3, 8, 8]}, "layers": [entry]}}


def test_it_is_a_schema_of_draft_7():
    Draft7Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "http://json-schema.org/draft-07/schema#"


def walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(child)


def test_every_reference_leads_somewhere():
    refs = {node["$ref"] for node in walk(SCHEMA) if isinstance(node.get("$ref"), str)}
    assert refs <= {f"#/definitions/{name}" for name in SCHEMA["definitions"]}
    assert not [node for node in walk(SCHEMA) if "$defs" in node]


def test_every_section_and_every_kind_is_described():
    assert set(SCHEMA["properties"]) == set(SECTIONS)
    for name, registry in FAMILIES.items():
        for kind in registry:
            assert SCHEMA["definitions"][f"{name}.{kind}"]["description"] == registry[kind].summary()


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_spec_is_taken(name):
    assert not list(VALIDATOR.iter_errors(read(SHIPPED[name]).plain()))


@pytest.mark.parametrize(("suffix", "text"), [(".yaml", YAML), (".toml", TOML)])
def test_the_spec_that_new_writes_is_taken(tmp_path, suffix, text):
    path = tmp_path / f"new{suffix}"
    path.write_text(text.format(name="new"))
    assert not list(VALIDATOR.iter_errors(read(path).plain()))


@pytest.mark.parametrize("kind", sorted(LAYERS))
def test_the_worked_example_of_every_layer_is_taken_in_every_form(kind):
    cls = LAYERS[kind]
    options = {k: list(v) if isinstance(v, tuple) else v for k, v in cls.example.options.items()}
    assert VALIDATOR.is_valid(of_entry({kind: options}))
    if not any(info.is_required() for info in cls.model_fields.values()):
        assert VALIDATOR.is_valid(of_entry(kind))
        assert VALIDATOR.is_valid(of_entry({kind: None}))
    first = next(iter(options.values()), None)
    if list(options) == [cls.first_field()] and not isinstance(first, dict):  # a mapping is read as the fields
        assert VALIDATOR.is_valid(of_entry({kind: first}))


@pytest.mark.parametrize(
    "spec",
    [
        of_entry({"conv": {"out_channels": "${4 * w}", "kernel_size": [3, "${k}"]}}),
        of_entry({"linear": "${w}"}),
        of_entry({"relu": None, "name": "act_${i}", "from": ["prev", "${other}"], "when": "${i > 0}"}),
        of_entry({"repeat": {"times": "${n}", "layers": ["relu"]}}),
        of_entry({"for": {"w": [1, 2]}, "layers": [{"linear": "${w}"}]}),
        of_entry({"residual": {"layers": ["relu"], "merge": {"concat": {"dim": 1}}, "after": "relu"}}),
        of_entry({"parallel": {"branches": [["relu"], "tanh"]}}),
        of_entry({"my_block": {"width": 3}}),
        of_entry({"weight_norm": {"layer": {"conv": {"out_channels": "${w}", "kernel_size": 3}}, "dim": None}}),
        of_entry({"spectral_norm": {"layer": {"linear": 8}}}),
        of_entry({"per_unit": ["relu", {"leaky_relu": 0.1}, "${act}"]}),
        {"network": {"inputs": {"shape": [3], "dtype": "int"}, "layers": ["relu"], "outputs": {"main": "relu_1"}}},
        {"network": NETWORK, "data": {"synthetic": {"shape": ["${c}", 8]}}, "init": "${scheme}"},
        {"network": NETWORK, "data": "digits", "objective": {"classification": {"loss": "squared_error"}}},
        {
            "network": NETWORK,
            "data": {
                "table": {
                    "path": "${f}",
                    "targets": {"a": "classes", "b": {"column": "c", "is": "values"}},
                    "inputs": {"x": ["p", "q"], "y": "r", "z": {"columns": ["s"], "is": "integers"}},
                }
            },
        },
        {
            "network": NETWORK,
            "data": {"arrays": {"path": "t.npz", "inputs": {"x": "X", "y": {"array": "Y", "is": "integers"}}}},
        },
        {"network": NETWORK, "train": {"epochs": 3, "optimizer": "sgd", "schedule": {"step": {"step_size": 3}}}},
        {"defaults": ["base", {"data": "small"}], "vars": {"a": [1, {"b": 2}]}, "freeze": ["stem", "stage_*"]},
    ],
    ids=str,
)
def test_what_dlx_takes_is_taken(spec):
    assert not list(VALIDATOR.iter_errors(spec))


@pytest.mark.parametrize(
    "spec",
    [
        {"netwrok": NETWORK},
        {"dlx": 2, "network": NETWORK},
        {"network": NETWORK | {"outptus": "relu_1"}},
        {"network": NETWORK | {"inputs": {"image": [3, 0]}}},
        {"network": NETWORK | {"inputs": {"image": {"shap": [3]}}}},
        of_entry(3),
        of_entry({"conv": {"out_chanels": 3, "kernel_size": 3}}),
        of_entry({"conv": {"out_channels": 3}}),
        of_entry({"conv": {"out_channels": "many", "kernel_size": 3}}),
        of_entry({"conv": {"out_channels": -1, "kernel_size": 3}}),
        of_entry({"conv": {"out_channels": 3, "kernel_size": 3, "padding": "some"}}),
        of_entry({"conv": None}),
        of_entry({"conv": 3}),
        of_entry({"linear": "ten"}),
        of_entry({"relu": 3}),
        of_entry({"weight_norm": {"layer": {"conv": {"out_channels": 8}}}}),
        of_entry({"weight_norm": {"conv": {"out_channels": 8, "kernel_size": 3}}}),
        of_entry({"weight_norm": {"layer": "linaer"}}),
        of_entry({"per_unit": {"activations": "relu"}}),
        of_entry({"per_unit": {"activations": ["relu", "rleu"]}}),
        of_entry({"relu": None, "name": 3}),
        of_entry({"repeat": {"times": 3}}),
        of_entry({"repeat": {"times": 2.5, "layers": ["relu"]}}),
        of_entry({"parallel": {"branches": 3}}),
        {"network": NETWORK, "data": {"digits": {"vald": 0.1}}},
        {"network": NETWORK, "data": {"digits": {}, "mnist1d": {}}},
        {"network": NETWORK, "data": {"table": {"path": "t.csv", "targets": {"a": {"colum": "c"}}}}},
        {"network": NETWORK, "objective": "clasification"},
        {"network": NETWORK, "objective": {"classification": {"loss": "mse"}}},
        {"network": NETWORK, "train": {"stps": 3}},
        {"network": NETWORK, "train": {"steps": "many"}},
        {"network": NETWORK, "train": {"steps": 3, "optimizer": {"sgd": {"lrr": 1}}}},
        {"network": NETWORK, "train": {"steps": 3, "device": "gpu"}},
        {"network": NETWORK, "track": {"mlflow": "yes"}},
        {"network": NETWORK, "blocks": {"b": {"layer": ["relu"]}}},
        {"network": NETWORK, "freeze": 3},
    ],
    ids=str,
)
def test_what_dlx_refuses_is_marked(spec):
    assert list(VALIDATOR.iter_errors(spec))


def test_the_command_prints_it():
    """That of a process of its own: other tests add kinds to this one."""
    text = "import json; from dlx.spec.schema import schema; print(json.dumps(schema()))"
    alone = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert json.loads(dlx("schema", check=True).stdout) == json.loads(alone.stdout)
