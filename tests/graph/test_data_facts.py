"""`data.classes` and `data.fields.NAME` in the expressions of layers."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from helpers import experiment_of

from dlx.errors import SpecError
from dlx.graph import trace
from dlx.spec import load

SPEC = """\
dlx: 1
data: DATA
blocks:
  head: {args: {width: 2}, layers: [{linear: "${width * data.classes}"}, {linear: "${data.classes}"}]}
network:
  layers: [flatten, {linear: "${data.fields.input.size // 4 + data.fields.input.shape.channels}"}, head]
"""


def widths(text: str) -> list[int]:
    return [node.shape[-1] for node in trace(experiment_of(text)).nodes if node.kind == "linear"]


def messages(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        trace(experiment_of(text))
    return [f"{p.message}. {p.hint}" for p in caught.value.problems]


@pytest.mark.parametrize(
    ("data", "wanted"), [("digits", [17, 20, 10]), ("{digits: {classes: [1, 2, 3]}}", [17, 6, 3])]
)
def test_layers_follow_the_data(data, wanted):
    assert widths(SPEC.replace("DATA", data)) == wanted


def test_fields_of_a_file_have_shape_size_and_classes(tmp_path):
    np.savez(
        tmp_path / "a.npz",
        x=np.zeros((6, 3, 2), np.float32),
        word=np.zeros((6, 4), np.int64),
        p=np.ones((6, 5)),
        k=np.arange(6) % 3,
    )
    (tmp_path / "s.yaml").write_text("""\
dlx: 1
data: {arrays: {path: a.npz, inputs: {x: x, word: word}, targets: {price: p, kind: k}}}
network:
  layers:
    - {flatten: , from: x}
    - linear: "${data.fields.price.size}"
    - linear: "${data.fields.kind.classes}"
    - linear: "${data.fields.x.shape[1] + data.fields.word.shape[0]}"
    - {embedding: {num_embeddings: 7, embedding_dim: 2}, from: word}
    - {flatten: , name: flat}
    - {concat: , from: [linear_3, flat]}
    - linear: 3
objective: {classification: {field: kind}}
""")  # fmt: skip
    found = [node.shape[-1] for node in trace(load(tmp_path / "s.yaml")).nodes if node.kind == "linear"]
    assert found == [5, 3, 6, 3]


def test_what_is_called_data_comes_first():
    first = "{linear: {out_features: 4, bias: false}, name: first}"
    net = f'network: {{inputs: {{NAME: [3]}}, layers: [{first}, {{linear: "${{EXPR}}"}}]}}'
    named = f"dlx: 1\n{net}".replace("EXPR", "data.channels + 1")
    assert widths(named.replace("NAME", "data")) == [4, 4]
    assert widths(named.replace("NAME", "x_in").replace("name: first", "name: data")) == [4, 5]
    assert widths(f"dlx: 1\nvars: {{data: 9}}\n{net}".replace("EXPR", "data").replace("NAME", "i")) == [4, 9]


@pytest.mark.parametrize(
    ("data", "expression", "said"),
    [
        (
            "digits",
            "data.classses",
            "there is no `data.classses`. `data` has `classes`, `vocabulary`, and `fields.NAME`.",
        ),
        ("digits", "data.fields.inptu.size", "the data has no field `inptu`. Did you mean `input`?"),
        ("digits", "data.fields.input.classes", "there is no `data.fields.input.classes`: the field has values. Its"),
        (
            "digits",
            "data.fields.input.dtype",
            "there is no `data.fields.input.dtype`. A field has `shape`, `size` and",
        ),
        (
            "poses",
            "data.classes",
            "the data has no `data.classes`: the target `target` has none. It has values, whose",
        ),
        (None, "data.classes", "there is no data, of which `data.classes` would be. Write the section `data`."),
    ],
)
def test_mistakes_are_sentences_at_the_expression(data, expression, said):
    first = f"dlx: 1\ndata: {data}\n" if data else "dlx: 1\n"
    shape = "" if data else "inputs: {x_in: [3]}, "
    text = f'{first}network: {{{shape}layers: [flatten, {{linear: "${{{expression}}}"}}]}}\n'
    (found,) = messages(text)
    assert found.startswith(said)


def test_data_that_cannot_be_read_is_blamed_once():
    text = 'dlx: 1\ndata: {arrays: nowhere.npz}\nnetwork: {inputs: {i: [3]}, layers: [{linear: "${data.classes}"}]}\n'
    assert len(messages(text)) == 1
    assert "nowhere.npz does not exist" in messages(text)[0]


def test_it_takes_no_torch(tmp_path):
    (tmp_path / "s.yaml").write_text(SPEC.replace("DATA", "digits"))
    code = (
        f"import sys; from dlx.cli import app; app(['inspect', {str(tmp_path / 's.yaml')!r}], standalone_mode=False)"
    )
    code += "; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.endswith("False\n")
