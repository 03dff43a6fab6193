"""Language models: perplexity and bits by hand, and networks that look ahead."""

from __future__ import annotations

from math import log, log2
from pathlib import Path

import pytest

from dlx.errors import SpecError
from dlx.experiment import runner
from dlx.lazy import F, torch
from dlx.objectives import OBJECTIVES
from dlx.spec import load

TEXT = "the cat sat on the mat, and the rat sat on the hat. " * 4
LAYERS = "[{embedding: {embedding_dim: 8}}, {lstm: 8}, {linear: '${data.vocabulary}'}]"


def trained(folder: Path, *overrides: str, layers: str = LAYERS, text: str = TEXT):
    spec = folder / "a.yaml"
    spec.write_text(
        f"dlx: 1\nname: a\ndata: {{text: {{content: '{text}', window: 8, valid: 0.2}}}}\n"
        f"network: {{layers: {layers}}}\nobjective: language\n"
        "train: {steps: 3, batch_size: 4, optimizer: {adam: 1e-2}}\ntrack: {mlflow: false}\n"
    )
    return runner.run(load(spec, overrides), folder / "runs").results[0]


def of_zeros(folder: Path, *overrides: str) -> dict[str, float]:
    """The metrics of a network whose logits are all 0, so that each token costs log2 of the vocabulary."""
    zero = "[{embedding: {embedding_dim: 8}}, {linear: '${data.vocabulary}', values: {weight: 0, bias: 0}}]"
    return trained(folder, "train.optimizer={sgd: {lr: 0}}", *overrides, layers=zero).metrics


def test_equal_logits_cost_the_logarithm_of_the_vocabulary(tmp_path):
    found, size = of_zeros(tmp_path), len(set(TEXT))
    assert found["valid/perplexity"] == pytest.approx(size)
    assert found["valid/bits_per_token"] == pytest.approx(log2(size))
    assert found["valid/bits_per_character"] == pytest.approx(log2(size))
    assert found["valid/loss"] == pytest.approx(log(size))


@pytest.mark.parametrize("tokens", ["{bpe: {size: 262}}", "bytes"])
def test_bits_are_divided_by_the_characters_that_tokens_stand_for(tmp_path, tokens):
    """All tokens but the first of a document are told: their bits, over the characters of the text after it."""
    text = "aé é aé " * 12
    found = trained(
        tmp_path,
        f"data.text.tokens={tokens}",
        "data.text.valid=null",
        "train.optimizer={sgd: {lr: 0}}",
        layers="[{embedding: {embedding_dim: 8}}, {linear: '${data.vocabulary}', values: {weight: 0, bias: 0}}]",
        text=text,
    )
    source = load(tmp_path / "a.yaml", [f"data.text.tokens={tokens}", "data.text.valid=null"]).data
    assert source is not None
    one = source.tokenizer()
    numbers = one.encode(text).tolist()
    characters = len(one.decode(numbers)) - one.lengths[numbers[0]]
    by_hand = (len(numbers) - 1) * log2(one.size) / characters
    assert found.metrics["train/bits_per_character"] == pytest.approx(by_hand)
    assert found.metrics["train/bits_per_token"] == pytest.approx(log2(one.size))


def test_the_loss_is_the_mean_over_tokens_that_count():
    objective = OBJECTIVES["language"].model_validate({})
    outputs, target = torch.randn(3, 5, 7), torch.randint(0, 7, (3, 5))
    target[1, 2:] = -100
    each = F.cross_entropy(outputs.flatten(0, 1), target.flatten(), reduction="none")
    assert objective.training_loss()(outputs, target) == pytest.approx(float(each.sum() / 12))
    meters = objective.fitted({"characters": [0, 1, 2, 3, 4, 5, 6]}).evaluation()
    for rows in (slice(0, 1), slice(1, 3)):  # batches of different numbers of tokens
        meters.add(outputs[rows], target[rows])
    found = meters.result()
    assert found["perplexity"] == pytest.approx(float((each.sum() / 12).exp()))
    assert found["bits_per_character"] == pytest.approx(float(each.sum() / log(2) / target[target >= 0].sum()))
    assert found["accuracy"] == pytest.approx(float((outputs.argmax(2) == target).sum() / 12))


@pytest.mark.parametrize("way", ["trace=true", "trace=false"])
def test_a_replayed_step_leaves_the_same_bits(tmp_path, way):
    weights = [
        trained(tmp_path / w, "train.steps=60", f"train.{w}").metrics
        for w in (way, "trace=false")
        if (tmp_path / w).mkdir(exist_ok=True) is None
    ]
    assert weights[0] == weights[-1]


CONVOLUTION = "transpose, {conv: {out_channels: 8, kernel_size: 3, padding: 1}}, transpose"


@pytest.mark.parametrize(
    ("layers", "position"),
    [
        ("{lstm: {hidden_size: 8, bidirectional: true}}", 0),
        (CONVOLUTION, 3),
        ("{multihead_attention: {num_heads: 2}}", 0),
    ],
    ids=["bidirectional", "padded", "attention"],
)
def test_a_network_that_looks_ahead_is_refused_before_training(tmp_path, layers, position):
    with pytest.raises(SpecError, match=f"looks ahead: another token at position 4 .* at position {position}"):
        trained(tmp_path, layers=LAYERS.replace("{lstm: 8}", layers))


def test_a_causal_attention_is_trained(tmp_path):
    layers = LAYERS.replace("{lstm: 8}", "{multihead_attention: {num_heads: 2, is_causal: true}}")
    assert "valid/perplexity" in trained(tmp_path, layers=layers).metrics


def test_text_without_an_objective_is_a_language(tmp_path):
    spec = tmp_path / "a.yaml"
    spec.write_text(
        f"dlx: 1\ndata: {{text: {{content: '{TEXT}', window: 8}}}}\nnetwork: {{layers: {LAYERS}}}\n"
        "train: {steps: 2}\ntrack: {mlflow: false}\n"
    )
    assert "train/perplexity" in runner.run(load(spec), tmp_path / "runs").results[0].metrics


def test_data_without_tokens_at_positions_is_refused(tmp_path):
    spec = tmp_path / "a.yaml"
    spec.write_text(
        "dlx: 1\ndata: digits\nnetwork: {layers: [flatten, {linear: 10}]}\nobjective: language\ntrain: {steps: 2}\n"
    )
    with pytest.raises(SpecError, match="language wants a token at each position, and the data has a class"):
        runner.run(load(spec), tmp_path / "runs")
