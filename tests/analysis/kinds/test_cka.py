"""Centred kernel alignment of layers."""

import pytest
from helpers import experiment_of

from dlx.analysis.analyze import analyze
from dlx.analysis.kinds.cka import Cka
from dlx.analysis.subject import of_runs, of_spec
from dlx.errors import SpecError
from dlx.experiment import runner

ROTATED = """
name: rotated
network:
  inputs: [2]
  layers:
    - {linear: {out_features: 2}, values: {weight: [[1, 0], [0, 1]], bias: [1, 2]}}
    - {linear: {out_features: 2}, values: {weight: [[0, 3], [-3, 0]], bias: [5, 0]}}
"""


def figures_of(text: str, **options):
    return Cka(**options).run(of_spec(experiment_of(text))).figures


def test_a_rotation_and_a_multiple_is_fully_alike_and_a_projection_is_not():
    found, twin = figures_of(ROTATED), figures_of(ROTATED.replace("[-3, 0]", "[0, 0]"))

    assert found["neighbouring_layers"] == pytest.approx(1, abs=1e-9)
    assert twin["neighbouring_layers"] == pytest.approx(0.5**0.5, abs=0.06)  # s1^2 / (s1 sqrt(s1^2 + s2^2)), s1 = s2
    assert found["shuffled"] < 0.05


def test_two_seeds_of_weights_that_are_written_are_the_same_network():
    found = figures_of(ROTATED)

    assert found["same_layer"] == pytest.approx(1, abs=1e-9)
    assert found["matching_layers"] == 1


def test_layers_of_different_seeds_are_less_alike_than_those_of_one():
    layers = "[{repeat: {times: 4, layers: [{linear: 20}, relu]}}]"
    deep = f"name: deep\ninit: he_normal\nnetwork: {{inputs: [20], layers: {layers}}}\n"
    found = figures_of(deep, examples=200)

    assert found["shuffled"] < 0.2 < found["same_layer"] < 0.95
    assert abs(figures_of(deep, examples=200, debiased=True)["shuffled"]) < 0.03


def test_networks_of_other_inputs_are_not_compared(digits_run, tmp_path):
    text = "data: {synthetic: {shape: [6], classes: 3, train: 60}}\nnetwork: {layers: [{linear: 3}]}"
    more = "train: {steps: 1, batch_size: 20, optimizer: {sgd: 0.1}}\ntrack: {mlflow: false}"
    other = runner.run(experiment_of(f"name: other\n{text}\n{more}\n"), tmp_path).results[0].run

    with pytest.raises(SpecError, match=r"takes \(6,\) float, and small/.* takes \(1, 8, 8\) float") as raised:
        analyze(Cka(), of_runs([digits_run, other]))
    assert "take two of one data" in raised.value.problems[0].hint


def test_a_layer_that_is_not_there_is_told():
    with pytest.raises(SpecError, match="`layers` names `lineer_1`, and rotated has no such layer") as raised:
        analyze(Cka(layers=["lineer_1"]), of_spec(experiment_of(ROTATED)))
    assert "linear_1" in raised.value.problems[0].hint
