"""Class maps and their boundaries: against lines by hand, and logistic units against rectifiers."""

import pytest

from dlx.analysis import analyze
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
