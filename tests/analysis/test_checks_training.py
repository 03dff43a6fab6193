"""Short trainings on the doctor's table."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from doctored import CLASSES, NUMBERS, make_probe, outcome, sets

from dlx.analysis.doctor.checks_training import BARS, range_of, smoothed, sparkline

DEEP = "[{linear: 32}, relu, {linear: 32}, relu, {linear: 3}]"
SGD = "{{steps: 300, optimizer: {{sgd: {0}}}}}"


@pytest.mark.parametrize("check", ["overfit a batch", "learning rates", "shuffled labels"])
def test_a_healthy_spec_is_found_healthy(check):
    found = outcome(check)
    assert (found.verdict, found.finding) == ("ok", "")


# ---- a batch by heart ----------------------------------------------------------------------------------------


def test_a_batch_is_learned_to_nearly_no_loss():
    found = outcome("overfit a batch")
    assert found.expected == "below 0.055 within 500 steps, 20 samples"  # a twentieth of ln 3
    assert 0.05 * math.log(3) == pytest.approx(0.055, abs=1e-4)
    assert float(found.figure.split()[0]) <= 0.055


def test_a_rate_that_is_too_large_is_distinguished_from_a_network_that_cannot_learn():
    found = outcome("overfit a batch", train=SGD.format(100))
    assert found.verdict == "wrong"
    assert found.finding.startswith("sgd with lr 100 brings the loss from ")
    assert "; adam with 1e-3 gets to 0.05" in found.finding
    assert found.hint == "The learning rate is too large: see `learning rates` for one that fits."
    assert found.mark.line == 2


def test_a_rate_that_is_too_small_is_reported():
    found = outcome("overfit a batch", train=SGD.format(1e-8))
    assert found.verdict == "wrong"
    assert "after 500 steps; adam with 1e-3 gets to 0.05" in found.finding
    assert found.hint.startswith("The learning rate is too small")


def test_a_rate_that_is_slow_is_on_its_way():
    found = outcome("overfit a batch", train=SGD.format(0.03))
    assert found.verdict == "look"
    assert found.finding.startswith("sgd with lr 0.03 is on its way after 500 steps, from ")


def test_a_network_that_cannot_learn_is_reported_whatever_the_rate():
    found = outcome("overfit a batch", more="init: zeros")
    assert found.verdict == "wrong"
    assert "which is that of knowing nothing (1.1)" in found.finding
    assert found.hint.startswith("What cannot learn a few examples learns nothing from many")
    assert found.mark.line == 3


def test_a_network_too_small_to_learn_by_heart_is_worth_a_look():
    x = np.random.default_rng(0).standard_normal((200, 6)).astype(np.float32)
    y = x[:, :1] + np.random.default_rng(1).standard_normal((200, 1)).astype(np.float32)
    found = outcome("overfit a batch", "[{linear: 1}]", sets(train=(x, y), valid=None, test=None))
    assert found.verdict == "look"
    assert " in 500 steps, not to 0." in found.finding
    assert found.hint.startswith("With units enough, and at a rate that fits, ")


def test_a_singular_hessian_is_a_loss_that_is_no_number():
    found = outcome("overfit a batch", train="{steps: 9, optimizer: newton}")
    assert found.verdict == "wrong"
    assert found.finding.startswith("newton with lr 1 has no finite loss after update ")
    assert found.hint == "newton cannot make that step: `dlx train` tells why."


# ---- learning rates ------------------------------------------------------------------------------------------


def test_the_range_is_where_the_loss_falls():
    rates = [10 ** (k / 20 - 6) for k in range(141)]
    ideal = [
        1.0 if r < 1e-4 else 1 - 0.9 * min(1, math.log10(r / 1e-4) / 2) for r in rates
    ]  # falls from 1e-4 to 1e-2
    curve = [loss if r < 0.1 else 5.0 for loss, r in zip(ideal, rates, strict=True)]
    low, high, breaks = range_of(rates, curve)
    assert 1e-4 < low < 5e-4
    assert 5e-3 < high < 4e-2
    assert 0.1 <= breaks < 0.2


def test_there_is_no_range_where_the_loss_only_trembles():
    rng = np.random.default_rng(0)
    assert range_of([1.0] * 140, (1 + 0.1 * rng.standard_normal(140)).tolist()) == (0, 0, 0)
    assert range_of([1.0] * 30, [math.nan] * 30) == (0, 0, 0)
    assert range_of([], []) == (0, 0, 0)


def test_the_mean_has_no_bias_at_its_start():
    assert smoothed([3.0] * 4) == pytest.approx([3.0] * 4)
    assert smoothed([1.0, 0.0])[1] == pytest.approx(0.16 / 0.36)  # 0.2 * 0.8 / (1 - 0.8^2)


def test_the_line_of_blocks_has_its_top_at_the_start():
    line = sparkline([2.0 - k / 10 for k in range(20)])
    assert (line[0], line[-1], len(line)) == (BARS[-1], BARS[0], 20)
    assert sparkline([]) == ""
    assert sparkline([1.0, 1.0, 1.0, 1e20])[-1] == BARS[-1]


def test_a_rate_is_held_against_the_range():
    found = outcome("learning rates", train=SGD.format(1e-6))
    assert found.verdict == "look"
    assert found.finding.startswith("lr 1e-06 brings the loss only from 1.")
    better = re.fullmatch(r"Write `lr: (.+)`\.", found.hint)[1]
    assert outcome("learning rates", train=SGD.format(better)).verdict == "ok"
    found = outcome("learning rates", train=SGD.format(1000))
    assert found.verdict == "wrong"
    assert found.finding.startswith("lr 1000 brings the loss up from 1.")


def test_where_nothing_learns_no_rate_helps():
    still = "{{linear: {{out_features: {0}, bias: false}}}}"
    layers = f"[{still.format(8)}, relu, {still.format(3)}]"
    found = outcome("learning rates", layers, more="init: zeros", train=SGD.format(0.1))
    finding = "the loss falls at no rate: tried 0.0001, 0.001, 0.01, 0.1, 1, 250 updates each"
    assert found.finding == finding


def test_a_bias_that_learns_how_often_classes_are_has_learned_nothing():
    """Only the last bias moves where weights vanish: the loss falls to that of the classes' shares and stays."""
    y = sets().train.y
    shares = np.bincount(y) / len(y)
    finding = f"the loss falls below {-(shares * np.log(shares)).sum():.3g}, that of one answer for all, at no rate"
    for init in ("zeros", "{normal: 1e-33}"):
        found = outcome("learning rates", DEEP, more=f"init: {init}")
        assert found.verdict == "look"
        assert found.finding.startswith(finding)


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_recurrent_network_that_starts_slowly_has_its_rate(cell):
    """Forty steps of one value: its loss stays for a hundred updates, and is below 1.5 after two hundred."""
    layers = f"[{{reshape: [40, 1]}}, {{{cell}: {{hidden_size: 32, return_sequences: false}}}}, {{linear: 10}}]"
    data = "{mnist1d: {train: 1000, valid: 0.2}}"
    how = "{{steps: 600, batch_size: 100, optimizer: {{{0}}}}}"
    assert outcome("learning rates", layers, data, how.format("adam: 1e-2")).verdict == "ok"
    found = outcome("learning rates", layers, data, how.format("adam: 1e-5"))
    better = re.fullmatch(r"Write `lr: (.+)`\.", found.hint)[1]
    assert found.verdict == "look"
    assert outcome("learning rates", layers, data, how.format(f"adam: {better}")).verdict == "ok"


def test_where_no_rate_of_the_optimizer_is_enough_adam_is_tried():
    layers, init = "[{repeat: {times: 6, layers: [{linear: 8}, sigmoid]}}, {linear: 3}]", "init: glorot_normal"
    found = outcome("learning rates", layers, more=init, train=SGD.format(1e-3))
    assert found.finding.startswith("the loss falls at no rate: tried ")
    rate, end = re.fullmatch(r"`optimizer: \{adam: (.+)\}` brings it to (.+)\.", found.hint).groups()
    assert (rate, float(end) < 1.0) == ("0.01", True)


# ---- labels that mean nothing --------------------------------------------------------------------------------


def test_what_was_trained_on_is_known_with_any_label():
    x, y = sets().train.x, sets().train.y
    layers, train = "[{linear: 128}, relu, {linear: 3}]", "{steps: 300, optimizer: {adam: 1e-2}}"
    clean = outcome("shuffled labels", layers, train=train)
    leaky = outcome("shuffled labels", layers, sets(valid=(x[:100], y[:100])), train)
    assert clean.verdict == "ok"
    assert leaky.verdict == "wrong"
    assert leaky.finding.startswith("trained on shuffled labels, the network has accuracy ")
    assert leaky.hint == "It has seen those examples: see `leakage`."


def test_equal_inputs_keep_equal_labels_when_they_are_shuffled():
    from dlx.analysis.doctor.checks_training import _shuffle_labels

    x, y = sets().train.x, sets().train.y
    train, valid = _shuffle_labels(make_probe(data=sets(valid=(x[:100], y[:100]))), "valid")
    assert (train.y[:100] == valid.y).all()
    assert sorted(train.y.tolist()) == sorted(y.tolist())
    assert train.y.tolist() != y.tolist()


def test_numbers_have_no_labels_to_shuffle():
    assert outcome("shuffled labels", "[{linear: 1}]", NUMBERS).verdict == "not run"


def test_what_would_take_long_is_left_out_unless_thoroughness_is_asked_for():
    wide = "[{linear: 4000}, relu, {linear: 4000}, relu, {linear: 3}]"
    for check in ("overfit a batch", "learning rates", "shuffled labels"):
        assert outcome(check, wide, CLASSES).expected == "too large for seconds: --thorough"
    assert make_probe(wide, thorough=True).affordable_steps(20, 500) > make_probe(wide).affordable_steps(20, 500)


def test_batches_of_a_series_in_order_are_mixed_before_rates_are_compared(tmp_path):
    """In order, the loss of one batch differs from the next by more than training takes off."""
    rows = [f"{math.sin(t / 9)},{math.sin((t - 1) / 9)},{math.sin((t + 1) / 9)}" for t in range(200)]
    (tmp_path / "series.csv").write_text("\n".join(["a,b,y", *rows]) + "\n")
    data = f"{{table: {{path: {tmp_path / 'series.csv'}, target: y, split: order, valid: 0.2, test: 20}}}}"
    train = "{epochs: 3, batch_size: 8, shuffle: false, optimizer: {adam: 1e-2}}"
    found = outcome("learning rates", "[{linear: 4}, tanh, {linear: 1}]", data, train, "objective: regression")
    assert (found.verdict, found.finding) == ("ok", "")


def test_a_loss_far_above_that_of_knowing_nothing_is_reported_as_such():
    x = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
    y = (1e5 + 1e3 * x[:, :1]).astype(np.float32)
    far = sets(train=(x, y), valid=None, test=None)
    found = outcome("overfit a batch", "[{linear: 4}, relu, {linear: 1}]", far, more="objective: regression")
    assert "worse than that of knowing nothing" in found.finding
