"""Dead, saturated and always active units."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import experiment_of

from dlx.analysis.analyze import analyze
from dlx.analysis.kinds.units import Units
from dlx.analysis.result import Result
from dlx.analysis.subject import of_run, of_spec
from dlx.errors import SpecError
from dlx.experiment import runner

TRAINED = """
name: small
data: {synthetic: {shape: [4], target: [1], train: 64, valid: 16, test: 16}}
network: {layers: [{linear: 8}, NORM relu, {linear: 1}]}
objective: regression
train: {steps: 60, batch_size: 64, optimizer: {sgd: 0.5}}
track: {mlflow: false}
"""


def found(activation: str = "relu", values: str = "{}", **options: Any) -> Result:
    layers = f"[{{linear: 40, values: {values}}}, {activation}, {{linear: 1}}]"
    text = f"name: units\ninit: he_normal\nnetwork: {{inputs: {{x: [20]}}, layers: {layers}}}"
    return analyze(Units.model_validate(options), of_spec(experiment_of(text))).result


def test_symmetric_weights_without_biases_have_half_of_all_values_active():
    figures = found().figures

    assert figures["active"] == pytest.approx(0.5, abs=0.01)
    assert (figures["dead"], figures["always_active"]) == (0, 0)


@pytest.mark.parametrize(("bias", "dead", "straight"), [(-30, 1, 0), (30, 0, 1), (0, 0, 0)])
def test_a_bias_beyond_all_sums_makes_units_dead_or_always_active(bias: float, dead: int, straight: int):
    figures = found(values=f"{{bias: {bias}}}").figures

    assert (figures["dead"], figures["always_active"], figures["worst_dead"]) == (dead, straight, dead)


def test_large_weights_push_tanh_to_where_it_is_flat_and_small_ones_do_not():
    """Of sums N(0, 1000^2) the share within the 2.18 where tanh has a slope is 2.18 * 2 / sqrt(2 pi) / 1000."""
    weights = [[1000, *[0] * 19]] * 40
    loud = found("tanh", f"{{weight: {weights}}}", examples=2000)

    assert loud.figures["saturated"] == pytest.approx(1 - 2.18 * 2 / 2.5066 / 1000, abs=3e-3)
    assert found("tanh", "{weight: 0.01}").figures["saturated"] == 0


def test_layers_are_told_one_by_one():
    """The network of ihler's chapter 6: weights below 0 kill what is behind the first layer."""
    values = "{weight: -0.5, bias: -0.1}"
    layer = f"{{linear: 4, values: {values}}}"
    text = f"name: dead\nnetwork: {{inputs: [2], layers: [{layer}, relu, {layer}, relu, {{linear: 1}}]}}"

    result = analyze(Units(seeds=1), of_spec(experiment_of(text))).result

    assert [(row[0], row[1], row[2]) for row in result.table[1]] == [("relu_1", 4, 0.0), ("relu_2", 4, 1.0)]
    assert result.figures["dead"] == 0.5


@pytest.mark.parametrize("norm", ["", "batch_norm,"])
def test_a_run_is_followed_from_its_initial_weights_to_its_last(tmp_path, norm: str):
    experiment = experiment_of(TRAINED.replace("NORM", norm))
    run = runner.run(experiment, tmp_path).results[0].run

    result = analyze(Units(), of_run(run)).result
    start = analyze(Units(seeds=1), of_spec(experiment)).result

    over_time = result.panels[-1]
    active = next(line for line in over_time.marks if line.label == "active")
    assert over_time.title == "units over the training, norms by the batch"
    assert (active.x[0], active.x[-1]) == (0, 60)
    assert active.y[0] == pytest.approx(start.figures["active"])
    assert norm or active.y[-1] == pytest.approx(result.figures["active"])
    assert active.y[0] != active.y[-1]


def test_draws_of_weights_are_refused_where_a_run_has_its_own_and_noted_where_its_spec_declares_them(tmp_path):
    spec = TRAINED.replace("NORM", "") + "analyses: {dead: {units: {seeds: 2}}}\n"
    run = runner.run(experiment_of(spec), tmp_path).results[0].run

    with pytest.raises(SpecError) as refused:
        analyze(Units(seeds=3), of_run(run))
    assert refused.value.problems[0].message == (
        f"`seeds` counts draws of the weights of a spec, and {run.key} is a run with its own"
    )
    hint = "Leave it out; several seeds are several runs: `dlx analyze units RUN RUN`."
    assert refused.value.problems[0].hint == hint
    declared = analyze(Units(seeds=2), of_run(run)).result
    assert "`seeds` counts draws of the weights of a spec; here are the weights of runs" in declared.notes
    assert analyze(Units(seeds=2, weights="initial"), of_run(run)).result.seeds == 2
    assert not analyze(Units(), of_run(run)).result.notes

    with pytest.raises(SpecError) as idle:
        analyze(Units(seeds=3, weights="trained"), of_run(run))
    assert idle.value.problems[0].message == (
        "`seeds` has no effect on trained weights: it counts draws of those before training"
    )


def test_a_network_without_such_activations_is_refused():
    with pytest.raises(SpecError) as refused:
        analyze(Units(), of_spec(experiment_of("name: line\nnetwork: {inputs: [4], layers: [{linear: 1}]}")))

    assert refused.value.problems[0].message == "line has no activation whose units can be dead or saturated"
    assert "`relu`" in refused.value.problems[0].hint
