"""Layers with lengths, padding and documents, replayed and packed: the same as step by step, alone."""

import numpy as np
import pytest
from test_packed import metrics_of, together

from dlx.experiment import session
from dlx.spec import load
from dlx.training import device
from dlx.training.fit import fit
from dlx.training.prepared import prepare

LAYERS = {
    "lengths": "{gru: {hidden_size: 6, bidirectional: true}, from: {input: tokens, lengths: length}}",
    "the end": "{lstm: {hidden_size: 6, num_layers: 2}, from: {input: tokens, lengths: length}}",
    "the state": "{gru: {hidden_size: 6}, name: state, from: {input: tokens, lengths: length}}",
    "documents": "{rnn: 6, from: {input: tokens, document: document}}",
    "attention": "{multihead_attention: 2, from: {query: tokens, key_padding_mask: padding}}",
    "own document": "{multihead_attention: 2, from: {query: tokens, document: document}}",
    "linear": "{linear_attention: 1, from: {query: tokens, key: tokens, value: tokens, key_padding_mask: padding}}",
}
SPEC = """
name: masked
data: {{arrays: {{path: texts.npz, inputs: {{words: words, {data}padding: {{array: padding, is: booleans}}}},
  targets: {{kind: kind}}}}}}
network:
  inputs: {{words: {{shape: [6], dtype: int}}, {inputs}padding: {{shape: [6], dtype: bool}}}}
  layers:
    - {{embedding: {{num_embeddings: 9, embedding_dim: 4}}, name: tokens, from: words}}
    - {layer}
    - {{mean: 1, from: {{input: prev, padding: padding}}}}
    - linear: 3
objective: classification
train: {{steps: 40, batch_size: 16, log_every: 1, evaluate_every: 40, device: cpu, optimizer: {{adam: 1e-2}}}}
track: {{mlflow: false}}
"""
MEAN = "- {mean: 1, from: {input: prev, padding: padding}}"
EXTENTS = {"length": "length: {shape: [1], dtype: int}, ", "document": "document: {shape: [6], dtype: int}, "}


@pytest.fixture
def spec(tmp_path):
    """A function from a layer to its spec, beside drawn words of which the first says the class."""
    rng = np.random.default_rng(0)
    length = rng.integers(1, 7, 80)
    words, padding = rng.integers(1, 9, (80, 6)), np.arange(6) >= length[:, None]
    kind, document = words[:, 0] % 3, np.sort(rng.integers(0, 3, (80, 6)), 1)
    parts = {"words": words, "length": length[:, None], "padding": padding, "document": document, "kind": kind}
    np.savez(tmp_path / "texts.npz", **parts)

    def written(layer):
        (name,) = [name for name in EXTENTS if f": {name}}}" in layer] or [""]
        extent = {"inputs": EXTENTS[name], "data": f"{name}: {name}, "} if name else {"inputs": "", "data": ""}
        file = tmp_path / "masked.yaml"
        text = SPEC.format(layer=layer, **extent)
        file.write_text(text.replace(MEAN, "- {relu: , from: state.state}") if "name: state" in layer else text)
        return file

    with device.threads(1):
        yield written


def job(file, *changes):
    return session.job_of(prepare(load(file, list(changes))))


@pytest.mark.parametrize("name", LAYERS)
def test_a_replayed_training_gives_the_same_figures(spec, name):
    file = spec(LAYERS[name])
    jobs = [job(file, f"+train.trace={way}") for way in ("false", "true")]
    plain, replayed = (metrics_of(fit(one)) for one in jobs)
    assert replayed == plain
    assert [one.learner.way["step"] for one in jobs] == ["plain", "replayed"], jobs[1].learner.way
    losses = [record.metrics["train/running_loss"] for record in plain if record.record == "step"]
    assert sum(losses[-5:]) < sum(losses[:5])


@pytest.mark.parametrize("name", LAYERS)
def test_packed_trainings_are_like_each_alone(spec, name):
    file = spec(LAYERS[name])
    packed, apart = ([job(file, f"+train.seed={seed}") for seed in range(3)] for _ in range(2))
    found = together(packed)
    for one, other, records in zip(packed, apart, found, strict=True):
        wanted = metrics_of(fit(other))
        assert one.learner.way["step"] == "packed", one.learner.way
        for record, alone in zip(records, wanted, strict=True):
            for key, value in alone.metrics.items():
                near = {"abs": 0.051} if key.endswith(("accuracy", "error")) else {"rel": 1e-3, "abs": 1e-5}
                assert record.metrics[key] == pytest.approx(value, **near)
