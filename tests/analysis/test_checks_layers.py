"""Layers on the doctor's table: what has died, what is stuck, and what travels."""

from __future__ import annotations

import pytest
from doctored import CLASSES, NUMBERS, make_probe, outcome

from dlx.analysis.doctor.checks_layers import sample_std

CHAIN = (
    "\n- repeat: {{times: {0}, layers: [{{linear: {{out_features: 1, bias: false}}, values: {{weight: {1}}}}}]}}\n"
)
ONE = "{synthetic: {shape: [1], target: [1], train: 200}}"


def deep(activation: str, width: int = 32, times: int = 10) -> str:
    return f"\n- repeat: {{times: {times}, layers: [{{linear: {width}}}, {activation}]}}\n- linear: 3\n"


@pytest.mark.parametrize("check", ["dead units", "activations", "gradients", "update size"])
def test_a_healthy_network_is_found_healthy(check):
    found = outcome(check, deep("relu", times=4), more="init: he_normal", train="{steps: 9, optimizer: {adam: 1e-3}}")
    assert (found.verdict, found.finding) == ("ok", "")


def test_a_network_with_negative_weights_is_dead():
    """Where inputs are not negative, the second layer is zero everywhere (and the first here too)."""
    values = "values: {weight: -0.5, bias: -0.1}"
    layers = f"\n- {{relu: {{}}}}\n- linear: 4\n  {values}\n- relu\n- linear: 4\n  {values}\n- relu\n- linear: 3\n"
    found = outcome("dead units", layers)
    assert found.verdict == "wrong"
    assert found.finding == (
        "every unit of `relu_2` and `relu_3` has slope 0 for all 128 samples: what is before learns nothing"
    )
    assert found.mark.line == 8
    assert "he_normal" in found.hint


def test_some_dead_units_are_counted():
    biases = [-100] * 3 + [0] * 5
    layers = f"\n- linear: 8\n  values: {{bias: {biases}}}\n- relu\n- linear: 3\n"
    found = outcome("dead units", layers)
    assert (found.verdict, found.figure) == ("look", "3 of 8 in relu_1")
    assert outcome("dead units", layers.replace("-100, -100, -100", "-100, 0, 0")).verdict == "ok"


def test_a_channel_is_one_unit_wherever_it_is_active():
    data = "{synthetic: {shape: [1, 6, 6], classes: 3, train: 200}}"
    conv = "\n- conv: {out_channels: 4, kernel_size: 3}\n  values: {bias: [-99, 0, 0, 0]}\n"
    layers = f"{conv}- relu\n- flatten\n- linear: 3\n"
    assert outcome("dead units", layers, data).figure == "1 of 4 in relu_1"


def test_units_that_never_switch_off_are_a_linear_layer():
    biases = [100] * 3 + [0] * 2
    layers = f"\n- linear: 5\n  values: {{bias: {biases}}}\n- relu\n- linear: 3\n"
    found = outcome("always active units", layers)
    assert (found.verdict, found.figure, found.mark.line) == ("look", "3 of 5 in relu_1", 7)
    finding = "3 of the 5 units of `relu_1` are on for all 128 samples: they do what a linear layer does"
    assert found.finding == finding
    assert "centred inputs" in found.hint
    assert outcome("always active units", layers.replace("100, 100, 100", "100, 100, 0")).verdict == "ok"
    assert "every one of the 5 units" in outcome("always active units", layers.replace("0, 0]", "100, 100]")).finding
    dead = layers.replace("100, 100, 100", "-100, -100, -100")
    assert outcome("always active units", dead).figure == "none of 5"


def test_a_channel_that_switches_anywhere_is_not_straight():
    data = "{synthetic: {shape: [1, 6, 6], classes: 3, train: 200}}"
    conv = "\n- conv: {out_channels: 4, kernel_size: 3}\n  values: {bias: [99, 99, 0, 0]}\n"
    assert outcome("always active units", f"{conv}- leaky_relu\n- flatten\n- linear: 3\n", data).figure == (
        "2 of 4 in leaky_relu_1"
    )
    assert outcome("always active units", "[{linear: 3}]").expected == "no ReLU or its kin"


def test_saturated_units_are_seen():
    layers = "[{linear: 32}, tanh, {linear: 32}, tanh, {linear: 3}]"
    healthy = outcome("saturated units", layers, more="init: glorot_uniform")
    assert (healthy.verdict, healthy.finding) == ("ok", "")
    sick = outcome("saturated units", layers, more="init: {normal: {std: 20}}")  # 1 on many inputs is as bad
    assert sick.verdict == "wrong"
    assert "are near its ends, where it is flat: little gradient passes" in sick.finding
    assert "glorot_uniform" in sick.hint


def test_a_signal_falls_by_the_weight_in_each_layer():
    """Ten layers of weight 0.01 hand on 0.01^10 x: CNNs for Visual Recognition, section 6.3."""
    layers = make_probe(CHAIN.format(10, 0.01), ONE).start.weight_layers
    scales = [sample_std(seen.output.detach()) for seen in layers]
    assert scales[-1] / sample_std(make_probe(CHAIN.format(10, 0.01), ONE).batch.x) == pytest.approx(1e-20, rel=1e-4)
    found = outcome("activations", CHAIN.format(10, 0.01), ONE)
    assert found.verdict == "wrong"
    assert found.finding == "the signal vanishes over 10 layers: std 0.0094 at `linear_1`, 9.4e-21 at `linear_10`"


@pytest.mark.parametrize(("weight", "grown"), [(0.9, 0.00515377521), (1.1, 117.3908529)])
def test_signal_and_gradient_over_fifty_layers(weight, grown):
    """0.9^50 and 1.1^50, where an activation is the identity."""
    start = make_probe(CHAIN.format(51, weight), ONE).start.weight_layers
    first, last = (sample_std(start[k].output.detach()) for k in (0, -1))
    assert last / first == pytest.approx(grown, rel=1e-4)
    back = [seen.output.grad.norm() for seen in (start[-1], start[0])]
    assert float(back[1] / back[0]) == pytest.approx(grown, rel=1e-4)
    word = "vanishes" if weight < 1 else "explodes"
    for check, what in (("activations", "signal"), ("gradients", "gradient")):
        found = outcome(check, CHAIN.format(51, weight), ONE)
        assert found.verdict == "look"
        assert found.finding.startswith(f"the {what} {word} over 51 layers: ")


def test_ten_sigmoids_let_the_gradient_vanish():
    found = outcome("gradients", deep("sigmoid"))
    assert found.verdict == "wrong"
    assert found.finding.startswith("the gradient vanishes over 11 layers: norm ")
    assert "at `linear_11`" in found.finding
    assert found.hint.startswith("`sigmoid` shrinks what passes it: take `relu` with `init: he_normal`")
    assert found.mark.line == 5


def test_he_keeps_the_scale_that_large_weights_lose():
    assert outcome("activations", deep("relu"), more="init: he_normal").verdict == "ok"
    found = outcome("activations", deep("relu"), more="init: {normal: {std: 1}}")  # 16 times the variance a layer
    assert found.verdict == "wrong"
    assert found.finding.startswith("the signal explodes over 11 layers")
    assert found.hint.startswith("`init: he_normal` keeps the scale through ReLUs")


def test_a_zero_that_training_will_move_is_no_disaster():
    found = outcome("gradients", "\n- linear: 32\n- relu\n- linear: 3\n  values: {weight: 0, bias: 0}\n")
    assert found.verdict == "look"
    assert found.finding.endswith("; weights of `linear_2` are zero, and nothing passes before the first update")


def test_the_size_of_an_update_of_sgd_is_that_of_the_slope():
    """lr |gradient| / |weight|, the batch being the whole set."""
    train = "{steps: 5, batch_size: 128, optimizer: {sgd: 1e-4}}"
    data = "{synthetic: {shape: [6], target: [1], train: 128}}"
    probe = make_probe("[{linear: {out_features: 1, bias: false}}]", data, train)
    weight = probe.start.network.get_submodule("linear_1").weight
    by_hand = 1e-4 * float(weight.grad.norm() / weight.detach().norm())
    figure = outcome("update size", "[{linear: {out_features: 1, bias: false}}]", data, train).figure
    assert float(figure.split()[0]) == pytest.approx(by_hand, rel=0.5)  # printed with one digit


@pytest.mark.parametrize(
    ("rate", "verdict", "hint"),
    [("1e-9", "look", "Raise the learning rate."), ("100", "wrong", "Lower the learning rate.")],
)
def test_updates_too_small_or_too_large_are_reported(rate, verdict, hint):
    found = outcome("update size", train=f"{{steps: 9, optimizer: {{sgd: {rate}}}}}")
    assert (found.verdict, found.hint, found.mark.line) == (verdict, hint, 2)
    assert "of themselves, most of all `linear_" in found.finding
    assert found.finding.endswith("about 1e-3 is healthy")


def test_checks_that_do_not_apply_say_why():
    assert outcome("dead units", "[{linear: 3}]").expected == "no ReLU or its kin"
    assert outcome("saturated units", "[{linear: 3}]").expected == "no sigmoid, tanh or their kin"
    assert outcome("activations", "[{linear: 1}]", NUMBERS).expected == "one weight layer"
    assert outcome("update size", data=CLASSES, train="{steps: 9, optimizer: lbfgs}").verdict == "not run"
