"""Class maps and their boundaries: against lines by hand, and logistic units against rectifiers."""

import math

import pytest
from helpers import experiment_of

from dlx.analysis import analyze
from dlx.analysis.kinds.decision_regions import DecisionRegions
from dlx.analysis.subject import of_spec
from dlx.errors import SpecError

WINDOW = ("low=-1", "high=2")


def regions(spec, *options, changes=()):
    return analyze.analyze(
        analyze.with_options("decision_regions", options), analyze.subject_of([spec], changes)
    ).result


def test_with_rectifiers_the_boundary_is_piecewise_linear():
    # relu(x) + relu(y) - 2 relu(x + y - 1) = 1/2: by hand its pieces are x = 1/2, y = 1/2, x + y = 1/2 or 3/2,
    # 2x + y = 3/2 and x + 2y = 3/2
    found = regions("ihler/mlp-2-3-1", *WINDOW).figures

    assert found["directions"] == 5
    assert found["straight"] == 1


def test_with_logistic_units_it_is_smooth():
    found = regions("ihler/mlp-2-3-1-logistic", *WINDOW).figures

    assert found["directions"] > 100
    assert found["straight"] < 0.1


def test_shares_of_the_window_are_its_areas():
    # in 0..1 the part between x + y = 1/2 and x + y = 3/2, which is 1 - 2/8
    found = regions("ihler/mlp-2-3-1", "low=0", "high=1", "grid=400").figures

    assert found["share_1"] == pytest.approx(0.75, abs=0.005)
    assert found["share_0"] + found["share_1"] == pytest.approx(1)


def test_a_threshold_moves_the_boundary():
    # x + y from 3/4 to 5/4 in the square: 1 - 2 * (3/4)^2 / 2
    found = regions("ihler/mlp-2-3-1", "low=0", "high=1", "grid=400", "threshold=0.25").figures

    assert found["share_1"] == pytest.approx(1 - 0.75**2, abs=0.005)


def test_one_class_everywhere_has_no_boundary():
    found = regions("ihler/mlp-2-3-1", *WINDOW, "threshold=99").figures

    assert found["classes"] == 1
    assert found["directions"] == 0
    assert "straight" not in found


def test_a_map_is_of_two_inputs_or_more():
    with pytest.raises(SpecError, match="the network has one input, and a map is of two or more"):
        regions("udl/shallow-1-3-1")


def test_pictures_as_outputs_are_no_classes():
    with pytest.raises(SpecError, match="are no scores of classes"):
        regions("zoo/unet-shapes")


SURE = """
name: sure
data: {moons: {train: 40, valid: 0, test: 20}}
network: {layers: [{linear: 1}]}
objective: {binary_classification: {threshold: 0.9}}
train: {steps: 1, batch_size: 20}
"""


def test_one_logit_is_of_class_1_from_the_threshold_of_the_objective_on():
    """A probability of 0.9 is a logit of log 9; `threshold: 0` is a probability of one half."""
    subject = of_spec(experiment_of(SURE))
    window = {"low": -20, "high": 20, "grid": 60}
    own, same, half = (
        DecisionRegions(**window, **more).run(subject).figures["share_1"]
        for more in ({}, {"threshold": math.log(9)}, {"threshold": 0})
    )

    assert own == same
    assert 0.01 < own < half - 0.01
