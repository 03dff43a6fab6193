"""Effective fields of specs: the formula of Luo et al. at initialisation, the theoretical field beside it."""

from math import sqrt

import pytest
from helpers import experiment_of

from dlx.analysis.kinds.effective_field import EffectiveField
from dlx.analysis.subject import of_run, of_spec

CHAIN = """
name: chain
init: {normal: {std: 1}}
network:
  inputs: [1, 61]
  layers:
    - repeat: {times: 9, layers: [{conv: {out_channels: 16, kernel_size: 3, padding: same, bias: false}}]}
"""


def field(text, **options):
    return EffectiveField(**options).run(of_spec(experiment_of(text)))


@pytest.mark.parametrize(("kernel", "times"), [(3, 9), (5, 9), (3, 4)])
def test_the_field_has_the_variance_of_a_sum_of_uniform_steps(kernel, times):
    """sqrt(n (k^2 - 1) / 12), section 2 of the paper; the theoretical field has n (k - 1) + 1 positions."""
    text = CHAIN.replace("kernel_size: 3", f"kernel_size: {kernel}").replace("times: 9", f"times: {times}")
    found = field(text, examples=1).figures

    assert found["spread"] == pytest.approx(sqrt(times * (kernel**2 - 1) / 12), rel=0.1)
    assert found["theoretical"] == times * (kernel - 1) + 1
    assert found["side"] <= found["theoretical"]


def test_dilation_spreads_the_field_as_a_depth_of_its_square_would():
    """The twin: a formula that counts kernels alone is off by the dilation."""
    found = field(CHAIN.replace("kernel_size: 3", "kernel_size: 3, dilation: 2"), examples=1).figures

    assert found["spread"] == pytest.approx(2 * sqrt(9 * 8 / 12), rel=0.1)


def test_pictures_have_a_map_and_the_field_of_both_axes(digits_run):
    found = EffectiveField(layer="conv_1", examples=8).run(of_run(digits_run))

    assert found.figures["theoretical"] == 3
    assert found.figures["side"] <= 3
    line, bounds = found.panels[0].marks
    assert line.y[4] > 0
    assert (line.y[[0, 1, 2, 6, 7]] == 0).all(), "nothing is seen beyond the kernel"
    assert bounds.x == [2.5, 2.5, 5.5, 5.5]
    assert found.panels[1].marks[0].values.shape == (8, 8)
    assert found.seeds == 1


def test_seeds_have_an_interval():
    found = field(CHAIN, examples=1, seeds=3)

    assert found.seeds == 3
    assert (found.panels[0].marks[0].low <= found.panels[0].marks[0].y).all()


def test_parts_of_the_largest_and_their_band_lie_from_0_to_1():
    """An interval about the mean of few networks goes beyond 1, where each of them has its largest."""
    line = field(CHAIN, examples=1, seeds=2).panels[0].marks[0]

    assert (line.low >= 0).all()
    assert (line.high <= 1).all()
    assert (line.low <= line.y).all()


def test_networks_without_positions_are_refused():
    vector = of_spec(experiment_of("name: dense\nnetwork: {inputs: [4], layers: [{linear: 3}]}"))
    chain = of_spec(experiment_of(CHAIN + "    - flatten\n    - linear: 2\n"))

    assert EffectiveField().problems(vector)[0].message == "dense has no layer with positions of its input"
    (late,) = EffectiveField(layer="linear_1").problems(chain)
    assert late.message == "`linear_1` has no positions of the input"
    assert late.hint == "The last that has is `conv_9`."
    (missing,) = EffectiveField(layer="covn_9").problems(chain)
    assert "Did you mean `conv_9`" in missing.hint
