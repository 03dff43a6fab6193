"""Texts that a decoder writes: the loss, what it writes step by step, scheduled sampling, and what does not fit."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import experiment_of, graph_of
from torch.nn import functional as F

from dlx.data.text.fields import TextField, TextOptions
from dlx.errors import SpecError
from dlx.experiment import runner
from dlx.modules.decoder import BEGIN, END, Decoder, goes_by_steps, greedy
from dlx.network import build
from dlx.objectives.translation import Translation, TranslationMeters
from dlx.spec import load

DATA = "data: {translations: {train: 64, valid: 8, test: 8}}"
RECURRENT = """
    - {embedding: {embedding_dim: 8}, from: source}
    - {KIND: 12, name: encoder}
    - {embedding: {embedding_dim: 8}, from: so_far}
    - {KIND: 12, name: decoder, from: {input: prev, h_0: encoder.state}}
"""
TRANSFORMER = """
    - {embedding: {embedding_dim: 8}, from: source, name: memory}
    - {embedding: {embedding_dim: 8}, from: so_far}
    - position_embedding
    - {multihead_attention: {num_heads: 2, is_causal: true}}
    - multihead_attention: {num_heads: 2}
      from: {query: prev, key: memory, key_padding_mask: source.padding}
"""
SHIFTED = TRANSFORMER.replace(
    "- position_embedding",
    "- transpose\n    - {pad: [1, 0]}\n    - {slice: {dim: 2, stop: 9}}\n    - transpose",
)
"""Each position sees the token before it, of which no step knows."""
LAYERS = {
    "lstm": RECURRENT.replace("KIND", "lstm"),
    "gru": RECURRENT.replace("KIND", "gru"),
    "transformer": TRANSFORMER,
    "shifted": SHIFTED,
}


def spec_of(layers: str, objective: str = "translation") -> str:
    return f"""
dlx: 1
name: t
{DATA}
network:
  layers:{layers}
    - {{linear: "${{data.fields.target.vocabulary}}"}}
objective: {objective}
train: {{steps: 6, batch_size: 16, optimizer: {{adam: 0.01}}}}
track: {{mlflow: false}}
"""


@cache
def network(kind: str):
    torch.manual_seed(3)
    made = build(graph_of(spec_of(LAYERS[kind]))).eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight.mul_(3)  # so that texts of drawn weights are not all one token
    return made


@cache
def fields():
    experiment = experiment_of(spec_of(LAYERS["lstm"]))
    sets = experiment.data.load()
    return torch.from_numpy(sets.valid.x), torch.from_numpy(sets.valid.more["so_far"]), torch.from_numpy(sets.valid.y)


def fitted(**options: object) -> Translation:
    text = TextField.of(TextOptions(), ["a b c"], ["a b c"], "target")
    made = Translation.model_validate(options)
    return made.fitted({"shifted": "so_far", "text": text.as_json()})


def look(outputs: torch.Tensor) -> torch.Tensor:
    return outputs


def test_the_loss_is_the_cross_entropy_of_the_tokens_that_are_there():
    source, so_far, target = fields()
    with torch.no_grad():
        logits = network("lstm")(source, so_far)
    meters = TranslationMeters(fitted(), None)
    meters.add(logits, target)
    there = target >= 0
    by_hand = F.cross_entropy(logits[there], target[there]).item()
    found = meters.result()
    assert found["loss"] == pytest.approx(by_hand, abs=1e-6)
    assert found["perplexity"] == pytest.approx(torch.tensor(by_hand).exp().item(), rel=1e-5)
    assert found["accuracy"] == pytest.approx((logits.argmax(-1) == target)[there].float().mean().item())
    assert "bits_per_token" not in found


# --- writing --------------------------------------------------------------------------------------------------------


def one_by_one(made, source, length):
    """Write with the whole network, all of it anew for each token."""
    rows, out = len(source), torch.zeros(len(source), length, dtype=torch.long)
    so_far = torch.zeros(rows, length, dtype=torch.long)
    so_far[:, 0] = BEGIN
    ended = torch.zeros(rows, dtype=torch.bool)
    for t in range(length):
        with torch.no_grad():
            logits = made(source, so_far)[:, t]
        logits[:, :2] = float("-inf")
        token = logits.argmax(-1).where(~ended, 0)
        out[:, t] = token
        ended |= token == END
        if t + 1 < length:
            so_far[:, t + 1] = token.where(~ended, 0)
    return out


@pytest.mark.parametrize(("kind", "by_steps"), [("lstm", 1), ("gru", 1), ("transformer", 1), ("shifted", 0)])
def test_steps_write_what_the_whole_network_writes(kind, by_steps):
    source, so_far, _ = fields()
    made = network(kind)
    with torch.inference_mode():
        assert goes_by_steps(made, look, (source, so_far), 1) == bool(by_steps)
        decoder = Decoder(made, look, (source, so_far), 1, so_far.shape[1], by_steps=bool(by_steps))
        written = greedy(decoder, len(source))
    assert len({tuple(row) for row in written.tolist()}) > 1
    assert written.tolist() == one_by_one(made, source, so_far.shape[1]).tolist()


def test_the_encoder_runs_once_and_the_decoder_sees_each_token_once():
    source, so_far, _ = fields()
    made, seen = network("lstm"), {"encoder": [], "decoder": []}
    steps = {name: made.get_submodule(name) for name in seen}
    hooks = [
        module.register_forward_hook(lambda _, xs, __, name=name: seen[name].append(xs[0].shape[1]))
        for name, module in steps.items()
    ]
    with torch.inference_mode():
        greedy(Decoder(made, look, (source, so_far), 1, so_far.shape[1]), len(source))
    for hook in hooks:
        hook.remove()
    assert seen["encoder"] == [source.shape[1]]
    assert set(seen["decoder"]) == {1}
    assert len(seen["decoder"]) <= so_far.shape[1]


def test_exact_match_counts_texts_that_are_right_up_to_their_end():
    objective = fitted()
    # <padding> <begin> <end> a b c
    target = torch.tensor([[3, 4, 2, -100], [3, 2, -100, -100], [5, 2, -100, -100]])
    written = torch.tensor([[3, 4, 2, 0], [3, 4, 2, 0], [5, 2, 0, 0]])
    meters = TranslationMeters(objective, None)
    object.__setattr__(objective, "write", lambda *_: written)
    meters.objective = objective
    names = SimpleNamespace(inputs=(), targets=("target",))
    batch = SimpleNamespace(y=target, fields={"target": target}, inputs=(), names=names)
    meters.generate(None, batch)
    assert (meters.right, meters.texts) == (2, 3)
    assert meters.bleu.length == 2 + 2 + 1
    assert meters.bleu.reference_length == 2 + 1 + 1


# --- scheduled sampling ---------------------------------------------------------------------------------------------


def mixed(objective, forcing, seed=5):
    source, so_far, _ = fields()
    batch = SimpleNamespace(inputs=(source, so_far), names=SimpleNamespace(inputs=("source", "so_far")))
    return objective.mixed_inputs(network("lstm"), batch, forcing, torch.Generator().manual_seed(seed))[1]


def test_the_true_tokens_stay_by_the_probability():
    _, so_far, _ = fields()
    objective = fitted(teacher_forcing={"linear": {}})
    assert mixed(objective, 1.0).equal(so_far)
    none = mixed(objective, 0.0)
    assert none[:, 0].eq(BEGIN).all()
    assert none[so_far == 0].eq(0).all()  # padding stays padding
    inner = (so_far != 0)[:, 1:]
    shares = [(mixed(objective, 0.7, seed) == so_far)[:, 1:][inner].float().mean().item() for seed in range(20)]
    drawn = [(mixed(objective, 0.0, seed) == so_far)[:, 1:][inner].float().mean().item() for seed in range(20)]
    chance = sum(drawn) / 20  # a drawn token is the true one now and then
    assert sum(shares) / 20 == pytest.approx(0.7 + 0.3 * chance, abs=0.05)


def test_as_many_passes_as_tokens_draw_each_from_those_before_it():
    source, so_far, _ = fields()
    objective, made = fitted(teacher_forcing={"linear": {}}), network("lstm")
    rng = torch.Generator().manual_seed(5)
    keep = torch.rand(so_far.shape, generator=rng) < 0.4
    noise = None
    x = so_far.clone()
    for t in range(so_far.shape[1] - 1):  # Bengio et al. 2015: one token after the other
        with torch.no_grad():
            logits = made(source, x).movedim(-1, 1)
        if noise is None:
            noise = -torch.empty(logits.shape).exponential_(generator=rng).log()
        token = (logits + noise)[:, :, t].argmax(1)
        x[:, t + 1] = so_far[:, t + 1].where(keep[:, t + 1] | (so_far[:, t + 1] == 0), token)
    assert not x.equal(so_far)
    assert mixed(objective, 0.4).equal(x)
    assert not mixed(fitted(teacher_forcing={"linear": {}}, passes=1), 0.4).equal(x)


def test_the_probability_follows_the_schedule_of_bengio():
    from dlx.schedules import Timeline

    objective = fitted(teacher_forcing={"inverse_sigmoid": {"k": 10}})
    time = Timeline(100, 10)
    assert objective.forcing(0, time) == pytest.approx(10 / 11)
    assert objective.forcing(23, time) == pytest.approx(10 / (10 + 2.718281828**2.3))
    assert objective.forcing(10**9, time) < 1e-300


@pytest.mark.parametrize("kind", ["lstm", "transformer"])
def test_a_run_measures_texts_and_a_lower_probability_changes_the_training(kind, tmp_path):
    path = tmp_path / "t.yaml"
    path.write_text(spec_of(LAYERS[kind]))
    plain = runner.run(load(path), tmp_path / "runs").results[0].metrics
    assert {f"test/{name}" for name in ("loss", "perplexity", "accuracy", "exact_match", "bleu")} <= plain.keys()
    one = runner.run(load(path, ["objective.translation.teacher_forcing.linear.start_factor=0.2"]), tmp_path / "runs")
    assert one.results[0].metrics["test/loss"] != plain["test/loss"]


# --- what does not fit ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "sentences"),
    [
        (
            ("{lstm: 12, name: decoder", "{lstm: 10, name: decoder"),
            ["the state that lstm begins at is (12,) from `encoder.state` (line 8)", "spec.yaml:10:"],
        ),
        (
            ("vocabulary}", "vocabulary + 1}"),
            ["the network ends in (9, 35), and the target `target` has 34 tokens at 9 positions"],
        ),
        (("objective: translation", "objective: {translation: {field: source}}"), ["the target `source` is none"]),
        (
            ("objective: translation", "objective: {translation: {teacher_forcing: plateau}}"),
            ["`plateau` follows a metric, and `teacher_forcing` goes by time"],
        ),
    ],
)
def test_what_does_not_fit_is_told_before_training(change, sentences):
    with pytest.raises(SpecError) as error:
        graph_of(spec_of(LAYERS["lstm"]).replace(*change))
    for sentence in sentences:
        assert sentence in str(error.value)


def test_a_decoder_without_a_shifted_input_is_told(tmp_path: Path):
    (tmp_path / "p.csv").write_text("en,es\na b,c d\nb a,d c\n")
    data = f"data: {{table: {{path: {tmp_path}/p.csv, inputs: {{source: {{column: en, is: text}}, so_far: "
    data += "{column: es, is: text, length: 4}}, targets: {target: {column: es, is: text, length: 4}}}}"
    with pytest.raises(SpecError) as error:
        graph_of(spec_of(LAYERS["lstm"]).replace(DATA, data))
    assert "no input is shifted from `target`" in str(error.value)
    assert "Write `so_far: {shifted: target}` under `inputs` of the data." in str(error.value)


def test_a_decoder_that_looks_ahead_is_told_before_training(tmp_path):
    path = tmp_path / "t.yaml"
    path.write_text(spec_of(LAYERS["transformer"].replace(", is_causal: true", "")))
    with pytest.raises(SpecError, match="the network looks ahead"):
        runner.run(load(path), tmp_path / "runs")


def test_a_target_of_text_is_no_map():
    with pytest.raises(SpecError) as error:
        graph_of(spec_of(LAYERS["lstm"]).replace("objective: translation", "objective: classification"))
    assert "one at each position of (9,)\n  Use `objective: translation`." in str(error.value)
