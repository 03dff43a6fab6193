"""The size of activations and gradients by layer, against the formula of He's initialisation."""

from __future__ import annotations

import pytest
from helpers import experiment_of

from dlx.analysis.kinds.activation_scale import ActivationScale
from dlx.analysis.subject import of_spec

DEEP = """
name: deep
init: he_normal
network:
  inputs: [100]
  layers:
    - repeat: {times: 10, layers: [{linear: {out_features: 100, bias: false}}, relu]}
"""


@pytest.mark.parametrize(("init", "growth"), [("he_normal", 1.0), ("{normal: {std: 0.1}}", 0.5**0.5)])
def test_activations_grow_by_the_variance_of_the_weights(init, growth):
    """E[f^2] of a layer is fan-in / 2 * variance of the weights times that before it (UDL, equation 7.31)."""
    text = DEEP.replace("he_normal", init)
    found = ActivationScale(layers=["linear_*"], examples=100, seeds=6).run(of_spec(experiment_of(text)))

    assert found.figures["growth_per_layer"] == pytest.approx(growth, rel=0.06)
    assert found.figures["gradient_growth_per_layer"] == pytest.approx(growth, rel=0.06)
    line = found.panels[0].marks[0]
    assert (line.low < line.y).all()
    assert (line.y < line.high).all()
