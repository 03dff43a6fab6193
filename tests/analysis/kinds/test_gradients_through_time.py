"""Gradients of recurrent layers by their distance in time."""

from __future__ import annotations

import math
from typing import Any

import pytest
from helpers import experiment_of

from dlx.analysis.analyze import analyze
from dlx.analysis.kinds.gradients_through_time import GradientsThroughTime
from dlx.analysis.result import Result
from dlx.analysis.subject import of_spec
from dlx.errors import SpecError

LINEAR = "{{hidden_size: 1, nonlinearity: identity}}, values: {{weight_hh_l0: {w}}}"


def found(kind: str, written: str, /, steps: int = 21, **options: Any) -> Result:
    text = f"name: time\nnetwork: {{inputs: {{x: [{steps}, 2]}}, layers: [{{{kind}: {written}}}]}}"
    return analyze(GradientsThroughTime.model_validate(options), of_spec(experiment_of(text))).result


@pytest.mark.parametrize("w", [0.9, 1.1, -0.5])
def test_a_linear_layer_hands_back_its_weight_to_the_power_of_the_distance(w: float):
    """w_zz^k: aima, section 22.6.1; below 1 it vanishes, above it explodes."""
    result = found("rnn", LINEAR.format(w=w))

    assert result.figures["growth"] == pytest.approx(abs(w), rel=1e-5)
    assert result.figures["ratio"] == pytest.approx(abs(w) ** 20, rel=1e-4)
    assert result.figures["spectral_radius"] == pytest.approx(abs(w))
    norms = [row[1] for row in result.table[1]]
    assert [norm / norms[0] for norm in norms] == pytest.approx([abs(w) ** k for k in range(21)], rel=1e-4)


def test_tanh_hands_back_less_than_its_weight():
    """The factor g' of equation 22.15 is below 1 but at 0."""
    figures = found("rnn", "{hidden_size: 1}, values: {weight_hh_l0: 1, weight_ih_l0: 1}", seeds=1).figures

    assert figures["growth"] < 0.8
    assert figures["spectral_radius"] == 1


@pytest.mark.parametrize("forget", [0.75, 0.98])
def test_cells_hand_back_what_the_forget_gate_lets_through(forget: float):
    """Without recurrent weights a cell has f times the one before (aima, section 22.6.2), and a state knows none."""
    bias = [0, math.log(forget / (1 - forget)), 0, 0]
    values = f"{{weight_hh_l0: 0, weight_ih_l0: 0, bias_ih_l0: {bias}, bias_hh_l0: 0}}"
    figures = found("lstm", f"1, values: {values}", seeds=1).figures

    assert figures["cell_growth"] == pytest.approx(forget, rel=1e-4)
    assert figures["cell_ratio"] == pytest.approx(forget**20, rel=1e-3)
    assert figures["growth"] == 0


def test_the_loss_of_every_step_hands_more_to_the_first_than_that_of_the_last_alone():
    """Of a network whose recurrent weight is 1, and whose loss is each output by a weight: T - t of them arrive."""
    text = """
    name: sums
    data: {synthetic: {shape: [5, 1], target: [5, 1], train: 20, valid: 5, test: 5}}
    objective: {regression: {loss: absolute_error}}
    network:
      layers:
        - {rnn: {hidden_size: 1, nonlinearity: identity}, values: {weight_hh_l0: 1}}
        - {linear: 1, values: {weight: 1, bias: 1000}}
    """
    result = analyze(GradientsThroughTime(gradient_of="loss", seeds=1), of_spec(experiment_of(text))).result

    norms = [row[1] for row in result.table[1]]  # every error has the sign of the bias: the slopes add up
    assert [norm / norms[0] for norm in norms] == pytest.approx([1, 2, 3, 4, 5], rel=1e-4)


def test_what_has_no_distance_in_time_is_refused():
    def reasons(kind: str, written: str, **options: Any) -> list[str]:
        with pytest.raises(SpecError) as refused:
            found(kind, written, **options)
        return [problem.message for problem in refused.value.problems]

    assert reasons("linear", "3") == ["time has no recurrent layer"]
    assert reasons("rnn", "3", layer="rnn_2") == ["`rnn_2` is no recurrent layer of time"]
    assert reasons("gru", "{hidden_size: 3, bidirectional: true}", gradient_of="loss") == [
        "`gru_1` goes both ways through time: no distance from one end is its own",
        "`gradient_of: loss` needs data, and time names none",
    ]
    assert reasons("gru", "3", steps=1) == ["`gru_1` takes 1 step: there is no distance in time"]
