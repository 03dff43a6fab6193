"""Baselines of series, by hand, by their equations and against a network that is trained."""

from __future__ import annotations

import numpy as np
import pytest

from dlx.baselines import BASELINES
from dlx.data import DATASETS
from dlx.errors import SpecError
from dlx.experiment import baseline_checks, baselines
from dlx.shapes import Shape
from dlx.spec import load
from dlx.spec.baseline_list import with_baselines

WINDOW = np.array([[1.0, 5, 2, 7]])


def test_naive_goes_on_with_the_last_value():
    made = BASELINES["naive"]().forecaster(Shape((4, 1)), Shape((3,)), ())
    assert made.predict(WINDOW).tolist() == [[7, 7, 7]]


def test_seasonal_naive_goes_on_with_the_last_season():
    made = BASELINES["seasonal_naive"](period=3).forecaster(Shape((4, 1)), Shape((5,)), ())
    assert made.predict(WINDOW).tolist() == [[5, 2, 7, 5, 2]]


def test_several_values_and_further_columns():
    """Two values are forecast, a third column is of the past alone."""
    window = np.arange(12.0).reshape(1, 4, 3)
    made = BASELINES["naive"]().forecaster(Shape((4, 3)), Shape((2, 2)), ())
    assert made.predict(window.reshape(1, -1)).tolist() == [[9, 10, 9, 10]]


def test_yule_walker_by_hand():
    """Of 1, -1, 2, -2: c0 = 10/4 and c1 = -7/4 about the mean 0, so -0.7; divided by 3 it is -7/3 by 10/4."""
    series = [np.array([[1.0], [-1], [2], [-2]])]
    found = BASELINES["auto_regression"](order=1).forecaster(Shape((1, 1)), Shape((1,)), series)
    assert found.coefficients[0] == pytest.approx([0, -0.7])
    adjusted = BASELINES["auto_regression"](order=1, method="yule_walker_adjusted")
    assert adjusted.forecaster(Shape((1, 1)), Shape((1,)), series).coefficients[0, 1] == pytest.approx(-7 / 3 / 2.5)


def test_the_two_divisors_of_yule_walker():
    """Where the sums give 0.5 divided by n, those divided by n - 1 give 0.6 for six values: 0.5 * 6 / 5."""
    y = np.array([1.0, 1, 1, -1, -1, -1])
    both = [
        BASELINES["auto_regression"](order=1, method=method)
        .forecaster(Shape((1, 1)), Shape((1,)), [y[:, None]])
        .coefficients[0, 1]
        for method in ("yule_walker", "yule_walker_adjusted")
    ]
    assert both == pytest.approx([0.5, 0.6])


def test_least_squares_is_that_of_numpy():
    y = DATASETS["ar_process"](length=500).load().series[0]
    found = BASELINES["auto_regression"](order=2, method="least_squares").forecaster(Shape((2, 1)), Shape((1,)), [y])
    inputs = np.stack([np.ones(498), y[1:-1, 0], y[:-2, 0]], 1)
    expected = np.linalg.solve(inputs.T @ inputs, inputs.T @ y[2:, 0])
    assert found.coefficients[0] == pytest.approx(expected, abs=1e-10)


def test_forecasts_of_several_steps_go_on_with_themselves():
    found = BASELINES["auto_regression"](order=2).forecaster(
        Shape((2, 1)), Shape((3,)), DATASETS["ar_process"](length=500).load().series
    )
    c0, c1, c2 = found.coefficients[0]
    first = c0 + c1 * 2 + c2 * 1
    second = c0 + c1 * first + c2 * 2
    third = c0 + c1 * second + c2 * first
    assert found.predict(np.array([[1.0, 2.0]]))[0] == pytest.approx([first, second, third])


SPEC = """\
dlx: 1
name: s
data: {ar_process: DATA}
network: {layers: [flatten, {linear: {out_features: 1, bias: false}}]}
objective: forecast
train: {steps: 3, batch_size: all, optimizer: newton}
track: {mlflow: false}
"""


def written(folder, data: str, more: str = ""):
    path = folder / "s.yaml"
    path.write_text(SPEC.replace("DATA", data) + more)
    return load(path)


def coefficients_of(experiment, folder) -> np.ndarray:
    """The weights of the trained linear layer, of the last value first."""
    from dlx.experiment import runner
    from dlx.training.checkpoints import checkpoint

    (result,) = runner.run(experiment, folder).results
    _, tensors = checkpoint.read(result.run.dir / "checkpoints", "final")
    return next(t for name, t in tensors.items() if name.endswith("weight")).numpy()[0, ::-1]


def test_a_linear_layer_on_padded_windows_is_yule_walker(tmp_path):
    """The autocorrelation method: least squares between zeros solves the Yule-Walker equations of sums over n."""
    trained = coefficients_of(written(tmp_path, "{length: 1000, pad: true}"), tmp_path)
    solved = BASELINES["auto_regression"](order=2).forecaster(
        Shape((2, 1)), Shape((1,)), DATASETS["ar_process"](length=1000).load().series
    )
    assert trained == pytest.approx(solved.coefficients[0, 1:], abs=1e-6)


def test_without_padding_they_differ(tmp_path):
    """The twin: least squares on the windows that there are is another estimate."""
    trained = coefficients_of(written(tmp_path, "{length: 1000}"), tmp_path)
    solved = BASELINES["auto_regression"](order=2).forecaster(
        Shape((2, 1)), Shape((1,)), DATASETS["ar_process"](length=1000).load().series
    )
    assert np.abs(trained - solved.coefficients[0, 1:]).max() > 1e-4


def test_they_are_measured_as_the_network_is(tmp_path):
    """The naive forecast of one step has a mean squared error of 2 (1 - rho) times the variance: 1.569 squared."""
    experiment = with_baselines(written(tmp_path, "{length: 20000, test: 0.5, standardize: global}"), ["naive"])
    (group,) = baselines.run(experiment, tmp_path / "runs").groups
    found = {metric.name: metric.mean for metric in group.metrics}
    assert found["test/rmse"] == pytest.approx((2 * 8.615 * (1 - 6 / 7)) ** 0.5, rel=0.05)
    assert found["test/mase"] == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize(
    ("kind", "objective", "says"),
    [
        ("seasonal_naive=5", "forecast", "`period` 5 reaches back further than the window of 2"),
        ("auto_regression=3", "forecast", "`order` 3 reaches back further than the window of 2"),
        ("naive", "regression", "naive goes on with a series, and the objective is regression"),
        (
            "naive={preprocess: [standardize]}",
            "forecast",
            "naive goes on with the values as they are, and `preprocess`",
        ),
    ],
)
def test_what_does_not_fit_is_told(tmp_path, kind, objective, says):
    spec = written(tmp_path, "{length: 100}")
    (tmp_path / "s.yaml").write_text((tmp_path / "s.yaml").read_text().replace("forecast", objective))
    with pytest.raises(SpecError, match=says):
        baseline_checks.check(with_baselines(load(spec.path), [kind]))


def test_those_of_inputs_are_fitted_in_the_scale_of_the_windows(tmp_path):
    """Ridge without a penalty is least squares with a constant."""
    data = "{length: 3000, test: 0.3, standardize: global}"
    experiment = with_baselines(
        written(tmp_path, data), ["ridge=0", "auto_regression={order: 2, method: least_squares}"]
    )
    ridge, own = (
        {m.name: m.mean for m in group.metrics} for group in baselines.run(experiment, tmp_path / "r").groups
    )
    assert ridge["test/rmse"] == pytest.approx(own["test/rmse"], rel=1e-5)
