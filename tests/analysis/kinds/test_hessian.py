"""Curvature of the loss of networks: against the closed form of a linear regression, and a scaled twin."""

import numpy as np
import pytest

from dlx.analysis import analyze
from dlx.errors import SpecError

X = np.array([0.03, 0.19, 0.34, 0.46, 0.78, 0.81, 1.08, 1.18, 1.39, 1.60, 1.65, 1.90])
Y = np.array([0.67, 0.85, 1.05, 1.0, 1.40, 1.5, 1.3, 1.54, 1.55, 1.68, 1.73, 1.6])
# of sum (w x + b - y)^2 by w and b
MATRIX = 2 * np.array([[X @ X, X.sum()], [X.sum(), len(X)]])
NET = """
dlx: 1
name: net
data: {synthetic: {shape: [6], classes: 3, train: 60, valid: 0, test: 20}}
network: {layers: [{linear: 8}, tanh, {linear: 3}]}
train: {steps: 1, threads: 1}
"""


def result(kind, *options, spec="udl/figure-2-3", changes=()):
    return analyze.analyze(analyze.with_options(kind, options), analyze.subject_of([str(spec)], changes)).result


QUADRATIC = """
dlx: 1
name: wide
data: {synthetic: {shape: [8], classes: null, target: [1], train: 40, test: 10, label_noise: {std: 1.0}}}
network: {layers: [{linear: {out_features: 1, bias: false}}]}
objective: regression
"""


@pytest.fixture
def net(tmp_path):
    path = tmp_path / "net.yaml"
    path.write_text(NET)
    return path


def test_the_hessian_of_a_line_through_points_is_that_of_the_closed_form():
    found = result("hessian").figures
    low, high = np.linalg.eigvalsh(MATRIX)

    assert (found["smallest"], found["largest"]) == pytest.approx((low, high), rel=1e-6)
    assert found["condition_number"] == pytest.approx(high / low, rel=1e-6)
    assert found["trace"] == pytest.approx(np.trace(MATRIX), rel=1e-6)
    assert (found["negative"], found["exact"], found["weights"]) == (0, True, 2)


def test_a_mean_in_place_of_the_sum_has_a_twelfth_of_the_curvature_and_the_same_condition():
    changes = ["objective.regression.loss.squared_error.reduction=mean"]
    whole, mean = result("hessian").figures, result("hessian", changes=changes).figures

    assert mean["largest"] == pytest.approx(whole["largest"] / 12)
    assert mean["condition_number"] == pytest.approx(whole["condition_number"])


def test_products_alone_find_what_the_whole_matrix_has(net):
    exact, products = result("hessian", spec=net), result("hessian", "exact=0", "steps=60", spec=net)
    means = result("hessian", "exact=0", "steps=2", "draws=300", spec=net).figures

    assert exact.figures["exact"]
    assert not products.figures["exact"]
    for name in ("largest", "smallest"):
        assert products.figures[name] == pytest.approx(exact.figures[name], rel=1e-3)
    assert means["trace"] == pytest.approx(exact.figures["trace"], rel=0.35), "a mean over random vectors"
    assert exact.figures["smallest"] < 0 < exact.figures["negative"]


def test_the_condition_number_of_products_is_that_of_the_ends_and_not_of_a_few_steps_between(tmp_path):
    path = tmp_path / "wide.yaml"
    path.write_text(QUADRATIC)
    exact, few = (result("hessian", *more, spec=path).figures for more in ((), ("exact=0", "steps=2", "draws=1")))

    assert few["smallest"] > 0
    assert not few["exact"]
    assert few["condition_number"] == pytest.approx(exact["condition_number"], rel=1e-2)


def test_sharpness_of_the_line_is_that_of_its_quadratic():
    found = result("sharpness").figures
    at = np.array([0.2, 0.4])
    wrong = at[0] * X + at[1] - Y
    gradient = 2 * np.array([wrong @ X, wrong.sum()])
    length = np.linalg.norm(gradient)
    ascent = 0.05 * length + 0.05**2 / 2 * gradient @ MATRIX @ gradient / length**2
    corners = [np.array([a * 1.2, b * 1.4]) * 1e-3 for a in (-1, 1) for b in (-1, 1)]
    most = max(gradient @ step + step @ MATRIX @ step / 2 for step in corners)

    assert found["loss"] == pytest.approx(wrong @ wrong, rel=1e-5)
    assert found["ascent"] == pytest.approx(ascent, rel=1e-4)
    assert found["most_in_box"] == pytest.approx(most, rel=1e-3)
    assert found["epsilon_sharpness"] == pytest.approx(100 * most / (1 + wrong @ wrong), rel=1e-3)
    assert found["largest_eigenvalue"] == pytest.approx(np.linalg.eigvalsh(MATRIX)[1], rel=1e-4)


def test_seeds_have_an_interval_and_more_steps_find_a_higher_point(net):
    found = result("sharpness", "seeds=3", spec=net)

    assert found.seeds == 3
    assert found.panels[0].marks[0].low is not None
    assert 0 < found.figures["ascent"] <= found.figures["most_in_ball"]


def test_the_loss_along_the_gradient_of_the_line_is_a_parabola():
    found = result("smoothness", "rate=0.01").figures
    wrong = 0.2 * X + 0.4 - Y
    g = 2 * np.array([wrong @ X, wrong.sum()])
    rates = 0.01 * np.linspace(0.5, 4, 8)
    losses = [wrong @ wrong - r * g @ g + r * r / 2 * g @ MATRIX @ g for r in rates]

    assert found["beta"] == pytest.approx(np.linalg.norm(MATRIX @ g) / np.linalg.norm(g), rel=1e-4)
    assert found["gradient_change"] == pytest.approx(0.04 * np.linalg.norm(MATRIX @ g), rel=1e-4)
    assert found["loss_range"] == pytest.approx(np.ptp(losses), rel=1e-4)


DEEP = """
dlx: 1
name: deep
data: {{digits: {{train: 600, valid: 0, test: 100}}}}
network:
  layers:
    - flatten
    - repeat: {{times: 4, layers: [{{linear: 32}}, {norm}relu]}}
    - {{linear: 10}}
init: he_normal
train: {{steps: 20, batch_size: 64, threads: 1, optimizer: {{sgd: 0.2}}}}
"""


def test_with_batch_norm_the_loss_is_smoother_along_the_gradient(tmp_path):
    """Santurkar et al., figure 4: smaller ranges of the loss, changes of the gradient, and effective smoothness."""
    plain, normed = tmp_path / "plain.yaml", tmp_path / "normed.yaml"
    plain.write_text(DEEP.format(norm=""))
    normed.write_text(DEEP.format(norm="batch_norm, "))
    options = ("updates=20", "rate=0.2")
    without, with_norm = (result("smoothness", *options, spec=spec) for spec in (plain, normed))

    assert len(without.table[1]) == 5, "before the training and after 5, 10, 15 and 20 updates"
    for name in ("loss_range", "gradient_change", "beta"):
        assert with_norm.figures[name] < without.figures[name] / 2, name


def test_following_a_training_does_not_change_it(tmp_path):
    from dlx.analysis.loss_at import descent

    spec = tmp_path / "deep.yaml"
    spec.write_text(DEEP.format(norm="batch_norm, "))
    analysis, subject = analyze.with_options("smoothness", ["updates=10", "every=1"]), analyze.subject_of([str(spec)])
    followed = [row[2] for row in analyze.analyze(analysis, subject).result.table[1]]
    seldom = analyze.analyze(analyze.with_options("smoothness", ["updates=10", "every=10"]), subject).result.table[1]

    assert followed[10] == seldom[1][2], "the loss at the end is the same however often it was measured"
    assert sum(1 for _ in descent(subject)) == 21


def test_a_loss_needs_data_and_one_network(tmp_path):
    with pytest.raises(SpecError, match="a loss is of examples with targets, and shallow-2-3-1 names no `data`"):
        result("hessian", spec="udl/shallow-2-3-1")
    with pytest.raises(SpecError, match=r"a loss of one network is looked at, and `gan` has phases|looks at one"):
        result("sharpness", spec="zoo/gan")


def test_a_run_is_not_trained_again():
    analysis = analyze.with_options("smoothness", ["updates=5"])

    class Ended:
        trained, name, has_data = True, "digits/1", False

    assert "`updates: 5` follows a training, and digits/1 has ended" in str(analysis.problems(Ended())[-1])
