"""The network before its first update."""

from __future__ import annotations

import math
import re

import pytest
import torch
from doctored import CLASSES, LAYERS, NUMBERS, make_probe, outcome, sets
from helpers import experiment_of

from dlx.analysis.doctor.check import CHECKS
from dlx.analysis.doctor.diagnosis import probe_of

TEN = CLASSES.replace("classes: 3", "classes: 10")
FLAT = "[{linear: 32}, relu, {linear: 10}]"


@pytest.mark.parametrize("check", ["initial loss", "output layer", "symmetry", "regularisation"])
def test_a_healthy_network_is_found_healthy(check):
    found = outcome(check)
    assert (found.verdict, found.finding) == ("ok", "")


def test_equal_logits_have_a_loss_of_ln_10():
    quiet = "\n- linear: 32\n- relu\n- linear: 10\n  values: {weight: 0, bias: 0}\n"
    probe = make_probe(quiet, TEN)
    assert probe.start.loss == pytest.approx(2.302585, abs=1e-6)
    assert probe.uninformed_loss(probe.batch) == pytest.approx(math.log(10))
    found = outcome("initial loss", quiet, TEN)
    assert (found.figure, found.expected) == ("2.303", "about ln 10 = 2.303")


def test_equal_scores_have_a_hinge_loss_of_9():
    probe = make_probe(FLAT, TEN, more="objective: {classification: {loss: hinge}}")
    assert probe.uninformed_loss(probe.batch) == pytest.approx(9)  # C - 1 margins of 1


def test_the_mean_of_the_targets_has_their_variance_for_a_loss():
    probe = make_probe("[{linear: 1}]", NUMBERS)
    assert probe.uninformed_loss(probe.batch) == pytest.approx(float(probe.batch.y.var(correction=0)))
    assert outcome("initial loss", "[{linear: 1}]", NUMBERS).expected.endswith("the variance of the targets")


def test_loud_initial_weights_raise_the_first_loss():
    found = outcome("initial loss", FLAT, TEN, more="init: {normal: {std: 3}}")
    assert found.verdict == "wrong"
    assert found.finding.startswith("the loss begins at ")
    assert found.finding.endswith("and a network that knows nothing has 2.3")
    assert "smaller initial weights" in found.hint


def test_targets_far_from_zero_raise_the_first_loss():
    x = sets().train.x
    found = outcome("initial loss", "[{linear: 1}]", sets(train=(x, x[:, :1] + 50), valid=None, test=None))
    assert found.verdict == "wrong"
    assert "centred targets" in found.hint


def test_a_large_first_loss_is_written_with_three_digits_and_a_small_one_with_its_decimals():
    x = sets().train.x
    y = x[:, :1] * 0 + 1e5
    found = outcome("initial loss", "[{linear: 1}]", sets(train=(x, y), valid=None, test=None))
    assert found.figure == "1e+10"
    assert re.fullmatch(r"\d\.\d{3}", outcome("initial loss", "[{linear: 1}]", NUMBERS).figure)


def test_a_loss_that_is_not_finite_is_wrong():
    found = outcome("initial loss", more="init: {constant: 1e30}")
    assert found.verdict == "wrong"
    assert found.finding == "the loss is nan before the first update"


def test_a_network_that_knows_the_answer_is_worth_a_look():
    teacher = make_probe("[{linear: 3}]")
    torch.manual_seed(0)
    x, y = teacher.parts["train"].x, torch.nn.functional.one_hot(teacher.parts["train"].y).float()
    weight = (20 * torch.linalg.lstsq(x, y).solution.T).tolist()
    found = outcome("initial loss", f"\n- linear: 3\n  values: {{weight: {weight}, bias: 0}}\n")
    assert found.verdict == "look"
    assert "below the 1.1 of a network that knows nothing" in found.finding


def test_softmax_before_cross_entropy_is_reported_with_the_loss_it_cannot_go_below():
    found = outcome("output layer", "[{linear: 32}, relu, {linear: 10}, softmax]", TEN)
    assert found.verdict == "wrong"
    assert found.finding == (
        "cross_entropy takes logits, and `softmax_1` gives numbers between 0 and 1: the loss cannot fall below 1.46"
    )
    assert math.log(1 + 9 / math.e) == pytest.approx(1.46, abs=2e-3)
    sure = torch.eye(10)
    assert float(torch.nn.functional.cross_entropy(sure, torch.arange(10))) == pytest.approx(1.4612, abs=1e-4)
    assert (found.hint, found.mark.line) == ("Drop `softmax_1`.", 4)


def test_a_last_relu_before_cross_entropy_is_worth_a_look():
    found = outcome("output layer", "[{linear: 3}, relu]")
    assert found.verdict == "look"
    assert found.finding == "cross_entropy takes logits, and `relu_1` gives numbers from 0 up"


def test_log_softmax_before_cross_entropy_is_once_too_often():
    found = outcome("output layer", "[{linear: 3}, {log_softmax: {}}]")
    assert (found.verdict, found.hint) == ("look", "Drop `log_softmax_1`: twice is once.")


def test_targets_out_of_range_of_the_last_layer_are_reported():
    found = outcome("output layer", "[{linear: 1}, sigmoid]", NUMBERS)
    assert found.verdict == "wrong"
    assert found.finding.startswith("`sigmoid_1` gives numbers between 0 and 1, and ")
    assert "of the targets are outside: they go from -" in found.finding
    assert outcome("output layer", "[{linear: 1}]", NUMBERS).verdict == "ok"


@pytest.mark.parametrize("init", ["zeros", "{constant: 0.1}"])
def test_equal_units_stay_equal(init):
    found = outcome("symmetry", more=f"init: {init}")
    assert found.verdict == "wrong"
    assert "have the same weights and the same gradient: they stay one unit for ever" in found.finding
    assert found.hint == "Draw weights at random: `init: he_normal`."
    assert found.mark.line == 6


def test_a_last_layer_at_zero_is_not_symmetric():
    layers = "\n- linear: 32\n- relu\n- linear: 3\n  values: {weight: 0, bias: 0}\n"
    assert outcome("symmetry", layers).verdict == "ok"


def test_weight_decay_is_measured_against_the_data():
    """Of a first update of SGD it is lr * decay * |w| beside lr * |gradient|."""
    train = "{steps: 300, optimizer: {sgd: {lr: 0.1, weight_decay: 0.2}}}"
    probe = make_probe(train=train)
    weights = torch.cat([p.detach().flatten() for p in probe.start.network.parameters()])
    slopes = torch.cat([p.grad.flatten() for p in probe.start.network.parameters()])
    by_hand = 0.2 * float(weights.norm() / slopes.norm())
    found = outcome("regularisation", train=train)
    assert float(found.figure.split()[0]) == pytest.approx(by_hand, rel=0.05)


def test_weight_decay_stronger_than_the_data_is_seen():
    found = outcome("regularisation", train="{steps: 300, optimizer: {sgd: {lr: 0.1, weight_decay: 5}}}")
    assert found.verdict == "look"
    assert "times as far as the data does in the first update" in found.finding
    found = outcome("regularisation", train="{steps: 300, optimizer: {adamw: {lr: 0.1, weight_decay: 10}}}")
    assert found.verdict == "wrong"
    assert found.finding == "regularisation alone takes away all of the weights in one update"
    assert found.mark.line == 2


def test_the_probe_starts_as_training_does():
    from dlx.network import build

    probe = make_probe(LAYERS)
    torch.manual_seed(0)
    twin = build(probe.graph, probe.experiment.init)
    for ours, theirs in zip(probe.network().parameters(), twin.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_what_draws_at_random_is_still_where_it_would_blur_the_figures():
    probe = make_probe("[{linear: 32}, batch_norm, relu, {dropout: 0.5}, {linear: 3}]")
    network = probe.network()
    assert not network.get_submodule("dropout_1").training
    assert network.get_submodule("batch_norm_1").training
    assert torch.equal(network(probe.batch.x), network(probe.batch.x))


def test_penalties_raise_the_loss_and_count_as_regularisation():
    more = "objective: {classification: {l2: 0.01}}"
    probe = make_probe(more=more)
    squares = sum(float(p.detach().square().sum()) for p in probe.start.network.parameters() if p.dim() > 1)
    found = outcome("initial loss", more=more)
    assert found.figure == f"{probe.start.loss:.3f} + {0.01 * squares:.3g} for the weights"
    assert outcome("regularisation", train="{steps: 9, optimizer: {sgd: 0.1}}", more=more).figure.endswith("update")
    strong = outcome("regularisation", train="{steps: 9, optimizer: {sgd: 0.1}}", more=more.replace("0.01", "2"))
    assert (strong.verdict, strong.mark.line) == ("look", 6)


def test_a_sigmoid_before_binary_cross_entropy_is_once_too_often():
    two = CLASSES.replace("classes: 3", "classes: 2")
    found = outcome("output layer", "[{linear: 1}, sigmoid]", two, more="objective: binary_classification")
    assert found.verdict == "wrong"
    assert found.finding == "binary_cross_entropy takes logits, and `sigmoid_1` gives numbers between 0 and 1"
    probe = make_probe("[{linear: 1}]", two, more="objective: binary_classification")
    assert probe.uninformed_loss(probe.batch) == pytest.approx(math.log(2))


def test_a_second_output_for_training_alone_is_no_hindrance():
    layers = [
        "linear: 32",
        "{relu: {}, name: trunk}",
        "{linear: 3, name: side}",
        "{linear: 3, from: trunk, name: main}",
    ]
    text = f"name: two\ntrain: {{steps: 9}}\ndata: {CLASSES}\nobjective: {{classification: {{aux: {{help: 0.3}}}}}}\n"
    listed = "".join(f"    - {layer}\n" for layer in layers)
    probe = probe_of(experiment_of(f"{text}network:\n  outputs: {{help: side, out: main}}\n  layers:\n{listed}"))
    assert probe.last.name == "main"
    assert {name: check(probe).verdict for name, check in CHECKS.items()}["gradient check"] == "ok"
