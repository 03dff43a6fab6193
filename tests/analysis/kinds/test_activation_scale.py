"""The size of activations and gradients by layer, against formulas."""

from __future__ import annotations

import math
from typing import Any

import pytest
from helpers import experiment_of

from dlx.analysis.analyze import analyze
from dlx.analysis.kinds.activation_scale import ActivationScale
from dlx.analysis.result import Result
from dlx.analysis.subject import of_spec
from dlx.errors import SpecError

DEEP = """
name: deep
init: he_normal
network:
  inputs: [100]
  layers:
    - repeat: {times: 10, layers: [{linear: {out_features: 100, bias: false}}, relu]}
"""
BLOCKS = """
name: blocks
init: he_normal
network:
  inputs: {{x: [200]}}
  layers:
    - repeat:
        times: 5
        layers: [{{residual: {{layers: [{layers}{{linear: {{out_features: 200, bias: false}}}}]{after}}}}}]
"""
CHAIN = """
name: chain
network:
  inputs: {{x: [1]}}
  layers:
    - repeat: {{times: 10, layers: [{{linear: {{out_features: 1, bias: false}}, values: {{weight: {weight}}}}}]}}
"""


def found(text: str, **options: Any) -> Result:
    return analyze(ActivationScale.model_validate(options), of_spec(experiment_of(text))).result


@pytest.mark.parametrize(("init", "growth"), [("he_normal", 1.0), ("{normal: {std: 0.1}}", 0.5**0.5)])
def test_activations_grow_by_the_variance_of_the_weights(init, growth):
    """E[f^2] of a layer is fan-in / 2 * variance of the weights times that before it (UDL, equation 7.31)."""
    result = found(DEEP.replace("he_normal", init), layers=["linear_*"], examples=100)

    assert result.figures["growth_per_layer"] == pytest.approx(growth, rel=0.06)
    assert result.figures["gradient_growth_per_layer"] == pytest.approx(growth, rel=0.06)
    line = result.panels[0].marks[0]
    assert (line.low < line.y).all()
    assert (line.y < line.high).all()
    assert result.seeds == 6


@pytest.mark.parametrize(
    ("layers", "after", "expected"),
    [
        ("relu, ", "", 2**5),  # each branch adds as much variance as it gets
        ("relu, ", ", after: {scale: 0.70710678}", 1),
        ("batch_norm, relu, ", "", 5 + 1),  # a branch that begins with a norm adds 1
    ],
    ids=["He", "scaled", "batch norm"],
)
def test_the_variance_through_residual_blocks_is_that_of_figure_11_6(layers, after, expected):
    result = found(BLOCKS.format(layers=layers, after=after), measure="variance", examples=256)

    assert result.figures["ratio"] == pytest.approx(expected, rel=0.12)
    assert result.figures["growth_per_layer"] == pytest.approx(expected**0.2, rel=0.03)
    assert [row[0] for row in result.table[1]] == ["x", *(f"{'scale' if after else 'add'}_{i}" for i in range(1, 6))]


@pytest.mark.parametrize(("norm", "growth"), [("batch_norm, ", math.sqrt(math.pi / (math.pi - 1))), ("", 1.0)])
def test_gradients_grow_by_a_fifth_for_each_batch_norm_without_shortcuts(norm, growth):
    """sqrt(pi / (pi - 1)) = 1.21: Yang et al. 2019, notes of UDL's chapter 11; without the norm they stay."""
    text = DEEP.replace("100", "200").replace("relu]", f"{norm}relu]")

    assert found(text, layers=["relu_*"], seeds=3).figures["gradient_growth_per_layer"] == pytest.approx(
        growth, rel=0.02
    )


def test_a_chain_of_one_weight_has_its_powers_exactly():
    """0.01^9 from the first layer to the tenth: Deitke, CNNs for Visual Recognition, section 6.3."""
    figures = found(CHAIN.format(weight=0.01), seeds=1).figures

    assert figures["ratio"] == pytest.approx(1e-18, rel=1e-4)
    assert figures["growth_per_layer"] == pytest.approx(0.01, rel=1e-4)
    assert figures["gradient_ratio"] == pytest.approx(1e-18, rel=1e-4)
    assert found(CHAIN.format(weight=-2), seeds=1).figures["growth_per_layer"] == pytest.approx(2, rel=1e-4)


def test_variances_are_the_squares_of_standard_deviations():
    once, twice = (
        found(CHAIN.format(weight=3), seeds=1, measure=one).figures for one in ("standard_deviation", "variance")
    )

    assert twice == pytest.approx({name: value**2 for name, value in once.items()})


def test_the_gradient_is_that_of_the_loss_where_that_is_asked_for():
    """Of half the squared error of a network that is all zeros: -(y - mean y) / n on average over the batch."""
    text = """
    name: zeros
    data: {synthetic: {shape: [2], target: [1], train: 50, valid: 10, test: 10}}
    network: {layers: [{linear: 1, values: {weight: 0, bias: 0}, name: y}, {identity: {}, name: same}]}
    objective: regression
    """
    subject = of_spec(experiment_of(text))
    batch = subject.examples(10)

    result = analyze(ActivationScale(at="all", gradient_of="loss", seeds=1), subject).result

    targets = batch["target"].double()
    expected = float((2 * targets / targets.numel()).square().mean().sqrt())
    assert result.figures["gradient_last"] == pytest.approx(expected, rel=1e-4)


def test_what_cannot_be_compared_is_refused_with_all_reasons():
    with pytest.raises(SpecError) as refused:
        found(DEEP, layers=["linear_1", "liner_2"], gradient_of="loss")
    assert [(problem.message, problem.hint) for problem in refused.value.problems] == [
        ("`layers` names `liner_2`, and deep has no such layer", "Did you mean `linear_2` or `linear_9`?"),
        (
            "`gradient_of: loss` needs data, and deep names none",
            "Add `data` and an `objective`, or leave `gradient_of` out.",
        ),
    ]
    with pytest.raises(SpecError, match="deep has no residual block"):
        found(DEEP, at="blocks")
