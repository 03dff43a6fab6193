"""Activations of recurrent units along a text: torch's LSTM stepped by hand, features by hand, and a trained unit."""

import json
import random
import re
from html import unescape

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.stats import pearsonr

from dlx.cli import app
from dlx.errors import DlxError
from dlx.experiment import runner
from dlx.show.activations import page
from dlx.spec import load
from dlx.trained.activations import activations
from dlx.trained.text_features import correlations, features

SPEC = """
dlx: 1
name: a
data: {{text: {{path: text.txt, window: 8, carry: {carry}, test: 0.2}}}}
network:
  layers:
    - embedding: {{embedding_dim: 6}}
    - {layer}
    - linear: "${{data.vocabulary}}"
objective: language
train: {{steps: {steps}, batch_size: 4, device: cpu, optimizer: {{adam: {lr}}}}}
track: {{mlflow: false}}
"""


def quoted_text(lines, seed=0):
    """Lines of dots in which `-` is followed by x inside quotes and by y outside: the network has to remember."""
    draw, made = random.Random(seed), []
    for _ in range(lines):
        for i in range(4):
            made += draw.choices([".", "-x" if i % 2 else "-y"], [2, 1], k=draw.randrange(3, 8))
            made.append('"' if i < 3 else '"\n')
    return "".join(made)


def run_of(folder, layer="lstm: 5", carry="true", steps=3, lr=1e-2, lines=40):
    folder.mkdir(exist_ok=True)
    (folder / "text.txt").write_text(quoted_text(lines))
    file = folder / "a.yaml"
    file.write_text(SPEC.format(layer=layer, carry=carry, steps=steps, lr=lr))
    return runner.run(load(file), folder / "runs").results[0].run


def by_hand(run, kind, text, window=None):
    """The activations by torch's cells, a character at a time, from zeros at the beginning and each `window`."""
    weights = load_file(run.dir / "checkpoints" / "final.safetensors")
    own = {name.removeprefix(f"{kind}_1.").removesuffix("_l0"): w for name, w in weights.items() if kind in name}
    size = len(own["weight_hh"][0])
    cell = {"lstm": torch.nn.LSTMCell, "gru": torch.nn.GRUCell, "rnn": torch.nn.RNNCell}[kind](6, size)
    cell.load_state_dict(own)
    names = sorted(set((run.dir.parents[2] / "text.txt").read_text()))
    made = []
    with torch.no_grad():
        for t, character in enumerate(text):
            if t == 0 or (window and t % window == 0):
                h, c = torch.zeros(1, size), torch.zeros(1, size)
            x = weights["embedding_1.weight"][names.index(character)][None]
            if kind == "lstm":
                h, c = cell(x, (h, c))
            else:
                h = cell(x, h)
            made.append((c.tanh() if kind == "lstm" else h)[0])
    return torch.stack(made).numpy()


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("carry", ["true", "false"])
def test_they_are_those_of_torch_stepped_by_hand(tmp_path, kind, carry):
    run = run_of(tmp_path, f"{kind}: 5", carry)
    found = activations(run, [0])
    text = "".join(found.pieces)
    whole = (tmp_path / "text.txt").read_text()
    assert text
    assert whole.endswith(text)
    assert len(text) == round(len(whole) * 0.2)
    assert len(text) % 8  # the last window is not full
    expected = by_hand(run, kind, text, None if carry == "true" else 8)
    assert np.abs(found.values - expected).max() < 1e-5
    other = by_hand(run, kind, text, 8 if carry == "true" else None)
    assert np.abs(found.values - other).max() > 1e-3


def test_features_by_hand():
    text = 'Hi "a, b"\n(x) '
    found = features([*text] * 10)
    assert found["quotes"][:10].tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 0, 0]
    assert found["brackets"][:14].tolist() == [0] * 10 + [1, 1, 0, 0]
    assert found["line_position"][:14].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4]
    assert found["word_position"][:10].tolist() == [1, 2, 0, 0, 1, 0, 0, 1, 0, 0]
    assert found["word_begin"][:10].tolist() == [1, 0, 0, 0, 1, 0, 0, 1, 0, 0]
    assert found["vowel"][:10].tolist() == [0, 1, 0, 0, 1, 0, 0, 0, 0, 0]
    assert found["capital"][:3].tolist() == [1, 0, 0]
    assert found["punctuation"][:14].tolist() == [0, 0, 0, 1, 0, 1, 0, 0, 1, 0, 1, 0, 1, 0]
    assert "capital" not in features([*text] * 9)


def test_correlations_are_those_of_scipy_and_a_constant_has_none():
    rng = np.random.default_rng(0)
    values, feature = rng.normal(size=(50, 3)), rng.normal(size=50)
    values[:, 2] = 0.5
    expected = [pearsonr(values[:, i], feature)[0] for i in range(2)]
    assert correlations(values, feature).tolist() == pytest.approx([*expected, 0])


def test_a_trained_unit_tells_what_is_inside_quotes_and_an_untrained_one_does_not(tmp_path):
    def best(run):
        (one,) = [unit for unit in activations(run).units if unit.feature == "quotes"]
        return abs(one.correlation)

    trained = best(run_of(tmp_path / "a", "lstm: 12", steps=250, lr=2e-2, lines=120))
    untrained = best(run_of(tmp_path / "b", "lstm: 12", steps=1, lr=1e-12, lines=120))
    assert trained > 0.8
    assert untrained < 0.5


@pytest.fixture
def small(tmp_path):
    return run_of(tmp_path)


def test_the_page_has_the_text_of_each_unit_and_a_colour_of_each_sign(small):
    found = activations(small, [3, 1])
    assert [one.number for one in found.units] == [3, 1]
    html = page(found)
    assert html.count("<pre>") == 2
    assert "&quot;" in html
    assert "http" not in html
    shown = re.findall(r"<pre>(.*?)</pre>", html, re.DOTALL)
    assert [unescape(re.sub(r"<[^>]*>", "", one)) for one in shown] == ["".join(found.pieces)] * 2
    level = round(float(found.values[0, 3]) * 10)
    first = re.match(r'<span class="([pn]\d+)">', shown[0])
    assert (first[1] if first else "") == (f"{'p' if level > 0 else 'n'}{abs(level)}" if level else "")


def test_the_command_writes_a_page_and_a_document(small, tmp_path, capsys):
    given = tmp_path / "other.txt"
    given.write_text('.-"x\n')
    for more in ([], ["--json", "--unit", "4", "--text", str(given)]):
        with pytest.raises(SystemExit) as end:
            app(["activations", "a", "--runs", str(tmp_path / "runs"), *more])
        assert end.value.code == 0
        printed = capsys.readouterr().out
        if more:
            found = json.loads(printed)
            assert found["tokens"] == [*'.-"x\n']
            assert [one["unit"] for one in found["units"]] == [4]
            assert len(found["units"][0]["activations"]) == 5
            assert (small.dir / found["file"]).exists()
        else:
            assert printed.splitlines()[0].split() == ["unit", "feature", "correlation"]
            assert (small.dir / "artifacts" / "activations" / "lstm_1-test.html").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"units": [5]}, "`lstm_1` of {run} has no unit 5: it has 5 units"),
        ({"layer": "linear_1"}, "`linear_1` is no recurrent layer of {run}"),
        ({"part": "valid"}, "the data of {run} has no part `valid`"),
        ({"n": 0}, "--n is 0"),
    ],
)
def test_what_is_not_there_is_said(small, options, sentence):
    with pytest.raises(DlxError) as refused:
        activations(small, **options)
    assert sentence.format(run=small.key) in str(refused.value)


def test_a_character_that_the_run_does_not_know_is_named(small, tmp_path):
    (tmp_path / "new.txt").write_text("-xz")
    with pytest.raises(DlxError, match="`z`"):
        activations(small, [0], file=tmp_path / "new.txt")


def test_a_network_without_recurrent_layers_is_refused(tmp_path):
    run = run_of(tmp_path, "relu", "false")
    with pytest.raises(DlxError, match="has no recurrent layer"):
        activations(run)
