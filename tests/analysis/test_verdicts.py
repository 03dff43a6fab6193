"""Networks known to be healthy are found healthy, broken ones broken, and the advice that is printed helps."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from doctored import TRAIN, make_probe, outcome, sets

from dlx.analysis.doctor.check import CHECKS
from dlx.analysis.doctor.diagnosis import examine
from dlx.data import Split

CLASSES = "{{synthetic: {{shape: {0}, classes: 3, train: 200, valid: 100, test: 100}}}}"
CONV = "{conv: {out_channels: 8, kernel_size: 3, padding: 1}}"
HEALTHY = {
    "dense": ("[{linear: 32}, relu, {linear: 3}]", CLASSES.format([6]), "adam: 1e-2", ""),
    "conv": (f"[{CONV}, relu, {{max_pool: 2}}, flatten, {{linear: 3}}]", CLASSES.format([1, 8, 8]), "adam: 1e-3", ""),
    "residual": (
        f"[{CONV}, batch_norm, relu, {{residual: {{layers: [{CONV}, batch_norm, relu]}}}}, flatten, {{linear: 3}}]",
        CLASSES.format([1, 8, 8]),
        "sgd: {lr: 0.05, momentum: 0.9}",
        "",
    ),
    "recurrent": (
        "[{lstm: {hidden_size: 16, return_sequences: false}}, {linear: 3}]",
        CLASSES.format([10, 3]),
        "adam: 1e-2",
        "",
    ),
    "attention": (
        "[{linear: 16}, {multihead_attention: 4}, layer_norm, {linear: 32}, gelu, flatten, {linear: 3}]",
        CLASSES.format([6, 4]),
        "adamw: 1e-3",
        "",
    ),
    "regression": ("[{linear: 32}, tanh, {linear: 1}]", "{curve: {train: 100, test: 50}}", "adam: 1e-2", ""),
    "binary": (
        "[{linear: 32}, relu, {linear: 1}]",
        "{moons: {train: 200, test: 100}}",
        "adam: 1e-2",
        "objective: binary_classification",
    ),
}
DEEP = "[{linear: 32}, relu, {linear: 32}, relu, {linear: 3}]"
LSTM = HEALTHY["recurrent"][0]
LAST = "init: {{by_name: {{match: {{{0}: {{normal: 1e-33}}}}}}}}"
BROKEN = [
    ("symmetry", DEEP, None, "init: zeros", "wrong", "have the same weights and the same gradient"),
    ("dead units", DEEP, None, "init: zeros", "wrong", "every unit of `relu_1` and `relu_2` has slope 0"),
    ("initial loss", DEEP, None, "init: {normal: 30}", "wrong", "the loss begins at "),
    ("activations", DEEP, None, "init: {normal: 30}", "wrong", "the signal explodes over 3 layers"),
    ("gradients", DEEP, None, "init: {normal: 30}", "wrong", "the gradient explodes over 3 layers"),
    ("activations", DEEP, None, LAST.format("linear_3"), "wrong", "the signal vanishes over 3 layers"),
    ("activations", LSTM, [10, 3], LAST.format("linear_1"), "wrong", "the signal vanishes over 2 layers"),
    ("gradients", LSTM, [10, 3], LAST.format("linear_1"), "wrong", "the gradient vanishes over 2 layers"),
    ("symmetry", DEEP, None, "init: {normal: 1e-33}", "ok", ""),
    ("update size", DEEP, None, LAST.format("linear_3"), "ok", ""),
    ("update size", DEEP, None, "init: {by_name: {match: {linear_3: zeros}}}", "ok", ""),
]
"""A check, layers, the shape of its inputs, the fault, and what the check has to say."""


@pytest.mark.slow
@pytest.mark.parametrize("family", HEALTHY)
def test_a_healthy_network_of_each_family_is_found_healthy(family):
    layers, data, optimizer, more = HEALTHY[family]
    with torch.random.fork_rng():
        found = examine(make_probe(layers, data, f"{{steps: 300, optimizer: {{{optimizer}}}}}", more).experiment)
    assert len(found.checks) == len(CHECKS)
    assert {
        one.check: one.outcome.finding for one in found.checks if one.outcome.verdict not in ("ok", "not run")
    } == {}


@pytest.mark.parametrize(("check", "layers", "shape", "fault", "verdict", "row"), BROKEN)
def test_a_fault_is_named_and_what_is_none_is_not(check, layers, shape, fault, verdict, row):
    found = outcome(check, layers, CLASSES.format(shape or [6]), more=fault)
    assert found.verdict == verdict
    assert row in found.finding


@pytest.mark.parametrize(("layers", "shape", "last"), [(DEEP, [6], "linear_3"), (LSTM, [10, 3], "linear_1")])
def test_the_initialisation_that_is_advised_is_one_and_helps(layers, shape, last):
    for check in ("activations", "gradients"):
        sick = outcome(check, layers, CLASSES.format(shape), more=LAST.format(last))
        (init,) = re.findall(r"`(init: \w+)`", sick.hint)
        assert outcome(check, layers, CLASSES.format(shape), more=init).verdict == "ok"


def test_a_deep_stack_of_tanh_is_healthy_with_the_activation_and_the_start_that_are_advised():
    deep = "[{{repeat: {{times: 30, layers: [{{linear: 16}}, {0}]}}}}, {{linear: 3}}]"
    sick = outcome("activations", deep.format("tanh"), CLASSES.format([6]))
    assert sick.hint == "`tanh` shrinks what passes it: take `relu` with `init: he_normal`, a norm, or shortcuts."
    assert outcome("activations", deep.format("relu"), CLASSES.format([6]), more="init: he_normal").verdict == "ok"


def test_columns_far_apart_are_brought_together_by_what_is_advised(tmp_path):
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((60, 2)) * [1e-4, 1.0]
    text = "\n".join(f"{a:.8f},{b:.4f},{'yes' if a > 0 else 'no'}" for a, b in rows)
    (tmp_path / "t.csv").write_text(f"a,b,y\n{text}\n")
    data = f"{{{{table: {{{{path: {tmp_path / 't.csv'}, target: y, valid: 0.2{{0}}}}}}}}}}"
    layers = "[{linear: 32}, relu, {linear: 2}]"
    sick = outcome("inputs", layers, data.format(""))
    assert sick.verdict == "look"
    assert sick.finding.startswith("input 2 has standard deviation ")
    assert sick.hint == "Bring them there: `standardize: feature` under the data."
    assert outcome("inputs", layers, data.format(", standardize: feature")).verdict == "ok"


def test_targets_of_another_scale_are_learned_with_the_scale_that_is_advised():
    x = np.random.default_rng(0).standard_normal((200, 6)).astype(np.float32)
    made = sets(train=(x, 30_000 * x[:, :1]), valid=None, test=None)
    layers = "[{{linear: 32}}, relu, {{linear: 1}}{0}]"
    sick = outcome("targets", layers.format(""), made)
    assert sick.verdict == "look"
    assert sick.hint.endswith("; no field of the spec scales targets.")
    (advised,) = re.findall(r"`- (scale: \d+)`", sick.hint)
    well = layers.format(f", {{{advised}}}")
    scaled = outcome("targets", well, made)
    assert (scaled.verdict, scaled.expected) == ("ok", "finite, of the order of 2.8e+04, the factor of scale_1")
    assert sick.expected == "finite, of the order of 1"
    assert outcome("overfit a batch", layers.format(""), made).verdict != "ok"
    assert outcome("overfit a batch", well, made).verdict == "ok"


def test_classes_of_very_different_size_are_weighed_as_advised():
    x = np.random.default_rng(0).standard_normal((200, 6)).astype(np.float32)
    y = np.zeros(200, np.int64)
    y[:6], y[6:20] = 1, 2
    hint = outcome("class balance", data=sets(train=(x, y), valid=None, test=None)).hint
    (loss,) = re.findall(r"`(loss: .+?)` under the objective", hint)
    weighed = make_probe(more=f"objective: {{classification: {{{loss}}}}}").objective.loss.weight
    assert [round(w * n) for w, n in zip(weighed, (180, 6, 14), strict=True)] == pytest.approx([67, 67, 67], abs=2)


def test_token_numbers_are_no_values_to_be_standardised():
    made = sets()
    ids = Split(np.arange(1200).reshape(200, 6), made.train.y)
    one = make_probe()
    object.__setattr__(one.sets, "train", ids)
    assert CHECKS["inputs"](one).figure == "whole numbers, 0 to 1199"


def test_large_first_updates_of_adam_are_no_fault_where_the_loss_falls():
    assert (
        outcome(
            "update size", "[{linear: 200}, relu, {linear: 3}]", train="{steps: 300, optimizer: {adam: 1e-2}}"
        ).verdict
        == "ok"
    )
    sick = outcome("update size", train="{steps: 300, optimizer: {adam: 100}}")
    assert (sick.verdict, sick.hint) == ("wrong", "Lower the learning rate.")
    assert outcome("update size", train=TRAIN).verdict == "ok"
