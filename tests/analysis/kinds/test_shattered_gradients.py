"""Autocorrelation of the gradient along the input, against formulas of wide networks."""

import numpy as np
import pytest
from helpers import experiment_of

from dlx.analysis.analyze import analyze
from dlx.analysis.kinds.shattered_gradients import ShatteredGradients
from dlx.analysis.result import Result
from dlx.analysis.subject import of_spec
from dlx.errors import SpecError

SPEC = """
name: scalar
init: {{lecun_normal: {bias}}}
network:
  inputs: {{input: {inputs}}}
  layers:
    - repeat: {{times: {times}, layers: [{{linear: 100}}, relu]}}
    - linear: 1
"""
DRAWN, ZERO = "{bias: drawn}", "{}"


def found(times: int, bias: str = DRAWN, inputs: str = "[1]", **options: object) -> Result:
    subject = of_spec(experiment_of(SPEC.format(times=times, bias=bias, inputs=inputs)))
    return analyze(ShatteredGradients.model_validate({"points": 161, "seeds": 12} | options), subject).result


def wide(layers: int, lag: float) -> float:
    """E[g(x) g(x + lag)] / E[g^2] on [-2, 2] of networks of infinite width, by the kernels of Cho & Saul 2009.

    Of weights and biases N(0, 1 / fan-in). In the first layer w^2 counts over the cone of (w, b) that is active at
    both; each further layer is active at both with probability (pi - angle) / (2 pi).
    """
    x = np.linspace(-2, 2, 161)
    angle = np.arctan2(1, x)
    first, second = angle[:, None], angle[None, :]
    begin, end = np.maximum(first, second) - np.pi / 2, np.minimum(first, second) + np.pi / 2
    gradient = ((end - begin) / 2 + (np.sin(2 * end) - np.sin(2 * begin)) / 4) / np.pi
    kernel = x[:, None] * x[None, :] + 1
    for layer in range(layers):
        size = np.sqrt(np.diag(kernel))
        cosine = np.clip(kernel / np.outer(size, size), -1, 1)
        theta = np.arccos(cosine)
        if layer:
            gradient = gradient * (np.pi - theta) / (2 * np.pi)
        kernel = np.outer(size, size) * (np.sin(theta) + (np.pi - theta) * cosine) / (2 * np.pi) + 1 / 100
    steps = round(lag / (x[1] - x[0]))
    return float(np.mean(np.diagonal(gradient, steps)) / np.mean(np.diag(gradient)))


@pytest.mark.parametrize("lag", [0.25, 0.5])
def test_one_layer_and_several_have_the_autocorrelation_of_wide_networks(lag: float):
    one, several = (found(n, lag=lag, seeds=40).figures["ensemble_autocorrelation"] for n in (1, 4))

    assert one == pytest.approx(wide(1, lag), abs=0.04)
    assert several == pytest.approx(wide(4, lag), abs=0.06)
    assert wide(1, lag) - wide(4, lag) > 0.1  # the formula tells them apart


def test_deep_networks_shatter_more_than_one_layer_where_biases_are_drawn():
    assert found(1).figures["autocorrelation"] - found(8).figures["autocorrelation"] > 0.1


@pytest.mark.parametrize("times", [1, 8])
def test_with_zero_biases_every_depth_has_the_autocorrelation_of_one_step(times: int):
    """The gradient is one value below 0 and another above: (4 - 3 lag) / (4 - lag) on a line of length 4."""
    figures = found(times, ZERO, points=801, seeds=3).figures

    assert figures["autocorrelation"] == pytest.approx(13 / 15, abs=4e-3)


def test_a_line_through_several_inputs_is_one_of_length_too():
    result = found(1, inputs="[5]", seeds=2)

    assert 0.2 < result.figures["autocorrelation"] < 1
    assert result.figures == found(1, inputs="[5]", seeds=2).figures


def test_a_linear_network_has_one_gradient_and_no_autocorrelation():
    subject = of_spec(experiment_of("name: line\nnetwork: {inputs: [1], layers: [{linear: 1}]}"))

    result = analyze(ShatteredGradients(seeds=2), subject).result

    assert result.notes == ("2 of 2 have one gradient everywhere, and no autocorrelation",)
    assert np.isnan(result.figures["autocorrelation"])


def test_whole_numbers_and_lags_beyond_the_line_are_refused():
    layers = "[{embedding: {num_embeddings: 5, embedding_dim: 2}}]"
    text = f"name: words\nnetwork: {{inputs: {{tokens: {{shape: [4], dtype: int}}}}, layers: {layers}}}"

    with pytest.raises(SpecError) as refused:
        analyze(ShatteredGradients(lag=3.0), of_spec(experiment_of(text)))

    assert [problem.message for problem in refused.value.problems] == [
        "words takes whole numbers as input, and the gradient is along one input of floats",
        "`lag: 3` is more than half of a line from -2 to 2",
    ]
    assert refused.value.problems[1].hint == "Take a `lag` of at most 2, or a longer line by `width`."
