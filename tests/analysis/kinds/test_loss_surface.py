"""The loss over weights, and around them: against the closed form of a line, and known bowls."""

import numpy as np
import pytest
import torch

from dlx.analysis import analyze
from dlx.analysis.analyze import with_options
from dlx.analysis.subject import of_runs
from dlx.errors import SpecError
from dlx.report import analysis_heat

X = np.array([0.03, 0.19, 0.34, 0.46, 0.78, 0.81, 1.08, 1.18, 1.39, 1.60, 1.65, 1.90])
Y = np.array([0.67, 0.85, 1.05, 1.0, 1.40, 1.5, 1.3, 1.54, 1.55, 1.68, 1.73, 1.6])
BY = "by=[linear_1/bias,linear_1/weight]"


def result(kind, *options, spec="udl/figure-2-3", changes=()):
    return analyze.analyze(analyze.with_options(kind, options), analyze.subject_of([str(spec)], changes)).result


def test_the_map_is_the_sum_of_squares_and_the_path_is_gradient_descent():
    found = result("loss_surface", BY, "grid=9", changes=["train.steps=6"])
    heat, path, _ = found.panels[0].marks
    by_hand = [[((b + w * X - Y) ** 2).sum() for b in heat.x] for w in heat.y]
    at, steps = np.array([0.4, 0.2]), []
    for _ in range(7):
        steps.append(at)
        wrong = at[0] + at[1] * X - Y
        at = at - 0.02 * 2 * np.array([wrong.sum(), wrong @ X])

    np.testing.assert_allclose(heat.values, by_hand, rtol=1e-6)
    np.testing.assert_allclose(np.stack([path.x, path.y], 1), steps, rtol=1e-5)
    assert found.figures["start_loss"] == pytest.approx(7.07, abs=0.005), "Prince 2023, figure 2.2b"
    assert found.figures["updates"] == 6


def test_the_training_ends_where_least_squares_do():
    found = result("loss_surface", BY, "grid=5").figures
    slope, offset = np.polyfit(X, Y, 1)

    assert (found["end_0"], found["end_1"]) == pytest.approx((offset, slope), abs=1e-4)
    assert found["end_loss"] == pytest.approx(0.2, abs=0.005), "Prince 2023, figure 2.2d"
    shuffled = result("loss_surface", BY, "grid=5", changes=["train.optimizer.sgd.lr=1e-4"]).figures
    assert shuffled["end_loss"] > 1, "with too small a rate it does not arrive"


def test_without_updates_the_map_lies_around_the_weights():
    found = result("loss_surface", BY, "grid=5", "updates=0", "low=[-1,-1]", "high=[2,2]")

    assert len(found.panels[0].marks) == 2
    assert found.panels[0].marks[0].x.tolist() == [-1, -0.25, 0.5, 1.25, 2]


@pytest.mark.parametrize(
    ("by", "sentence"),
    [
        ("[linear_1/wait,linear_1/bias]", r"there is no weight `linear_1/wait`\s+Did you mean `linear_1/weight`"),
        (
            "['linear_1/weight[0,1]',linear_1/bias]",
            r"`linear_1/weight\[0,1\]` is outside of linear_1/weight, whose shape",
        ),
        ("[linear_1/bias]", "`by` names linear_1/bias alone"),
    ],
)
def test_names_that_are_no_weights_are_told(by, sentence):
    with pytest.raises(SpecError, match=sentence):
        result("loss_surface", f"by={by}")


def test_of_a_larger_network_two_weights_must_be_named(tmp_path):
    with pytest.raises(SpecError, match="weights, and a map is over two"):
        result("loss_surface", spec="digits/lenet")
    found = result(
        "loss_surface", "by=['conv_1/weight[0,0,1,1]','conv_1/bias[2]']", "grid=3", "updates=1", spec="digits/lenet"
    )
    assert found.panels[0].x == "conv_1/weight[0,0,1,1]"


QUADRATIC = """
dlx: 1
name: quadratic
data: {synthetic: {shape: [4], target: [2], classes: null, train: 50, valid: 0, test: 10}}
network: {layers: [{linear: {out_features: 2, bias: false}}]}
objective: regression
"""


def test_around_a_linear_regression_the_landscape_is_a_bowl(tmp_path):
    spec = tmp_path / "quadratic.yaml"
    spec.write_text(QUADRATIC)
    found = result("loss_landscape", "points=7", spec=spec)
    table = found.panels[0].marks[0].values

    # second differences of a quadratic are the same everywhere
    for axis in (0, 1):
        curvature = np.diff(table, 2, axis=axis)
        np.testing.assert_allclose(curvature, curvature.mean(), rtol=1e-3)
    assert found.figures["bumpiness"] == pytest.approx(0, abs=1e-6)
    assert found.figures["loss"] == pytest.approx(table[3, 3])


def test_the_middle_is_the_loss_of_the_network_and_the_directions_are_as_long_as_its_filters(tmp_path):
    spec = tmp_path / "quadratic.yaml"
    spec.write_text(QUADRATIC)
    subject = analyze.subject_of([str(spec)])
    network, batch = subject.network(), subject.examples(1000, part="train")
    found = result("loss_landscape", "points=3", "radius=1", spec=spec).panels[0].marks[0].values

    with torch.no_grad():
        assert found[1, 1] == pytest.approx(float(subject.loss(network, batch)), rel=1e-5)
        # along one direction: L(w + d) + L(w - d) - 2 L(w) = d^T H d, which a longer d makes larger
        first = found[1, 2] + found[1, 0] - 2 * found[1, 1]
        double = result("loss_landscape", "points=3", "radius=2", spec=spec).panels[0].marks[0].values
        assert double[1, 2] + double[1, 0] - 2 * double[1, 1] == pytest.approx(4 * first, rel=1e-3)


def test_an_even_number_of_points_has_no_middle(tmp_path):
    with pytest.raises(SpecError, match="`points: 4` is even, and the weights are in the middle"):
        result("loss_landscape", "points=4", spec="digits/lenet")


def test_landscapes_of_two_networks_have_the_same_colours_for_the_same_loss(digits_run, linear_run):
    """Those of UDL figure 11.13 are compared; alone each has the colours of its own range."""
    analysis = with_options("loss_landscape", ["points=3", "examples=50"])
    first, second = (panel.marks[0] for panel in analysis.run(of_runs([digits_run, linear_run])).panels)
    (alone,) = (panel.marks[0] for panel in analysis.run(of_runs([linear_run])).panels)
    low = min(one.values.min() for one in (first, second))
    high = max(one.values.max() for one in (first, second))

    assert first.limits == second.limits == (low, high)
    assert alone.limits == (alone.values.min(), alone.values.max()) != second.limits
    np.testing.assert_array_equal(alone.values, second.values)
    painted = [analysis_heat._painted(one) for one in (second, alone)]
    assert (painted[0] != painted[1]).any()
