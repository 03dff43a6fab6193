"""Forecasts: learned in the scale of the inputs, measured in the unit of the series."""

from __future__ import annotations

import pytest
import torch

import dlx
from dlx.data.batch import Batch
from dlx.objectives import OBJECTIVES
from dlx.spec import load
from dlx.training.prepared import prepare

SCALE = torch.tensor([[[100.0], [10.0], [4.0]], [[0.0], [1.0], [0.5]]])
"""Mean, deviation and naive error of two series."""


def batch(*targets: list[float]) -> Batch:
    return Batch({"target": torch.tensor(targets), "scale": SCALE})


def test_the_loss_is_in_the_scale_of_the_inputs():
    """Targets 110 and 2 are 1 and 2 in their scales: outputs 1 and 1 are off by 0 and 1."""
    forecast = OBJECTIVES["forecast"]()
    target = forecast.target(batch([110.0], [2.0]))
    assert float(forecast.loss_function()(torch.tensor([[1.0], [1.0]]), target)) == pytest.approx(0.5)


def test_metrics_are_in_the_unit_of_the_series():
    """Outputs 1 and 1 stand for 110 and 1: errors 4 and 2, which are 1 and 4 naive errors."""
    meters = OBJECTIVES["forecast"]().evaluation()
    meters.add(torch.tensor([[1.0], [1.0]]), OBJECTIVES["forecast"]().target(batch([106.0], [3.0])))
    found = meters.result()
    assert found["mae"] == pytest.approx(3)
    assert found["rmse"] == pytest.approx(((16 + 4) / 2) ** 0.5)
    assert found["mase"] == pytest.approx(2.5)


def test_the_root_is_taken_of_the_mean_over_all_batches():
    forecast = OBJECTIVES["forecast"]()
    meters = forecast.evaluation()
    for off in (1.0, 3.0, 5.0):
        meters.add(torch.zeros(2, 1), forecast.target(batch([100.0 + off], [off])))
    assert meters.result()["rmse"] == pytest.approx(((1 + 9 + 25) / 3) ** 0.5)


def test_a_series_that_does_not_vary_is_left_out_of_mase():
    forecast = OBJECTIVES["forecast"]()
    scale = SCALE.clone()
    scale[1, 2] = 0
    meters = forecast.evaluation()
    meters.add(torch.zeros(2, 1), forecast.target(Batch({"target": torch.tensor([[108.0], [9.0]]), "scale": scale})))
    assert meters.result()["mase"] == pytest.approx(8 / 4)
    scale[0, 2] = 0
    meters = forecast.evaluation()
    meters.add(torch.zeros(2, 1), forecast.target(Batch({"target": torch.tensor([[108.0], [9.0]]), "scale": scale})))
    assert "mase" not in meters.result()


def test_coverage_is_the_share_between_the_outer_quantiles():
    """Of horizon 2: quantiles 0 to 2 cover 1 and not 3; in the unit of the first series 100 to 120 cover both."""
    forecast = OBJECTIVES["forecast"](quantiles=[0.1, 0.5, 0.9])
    output = torch.tensor([[0.0, 0, 1, 1, 2, 2]] * 2)
    meters = forecast.evaluation()
    meters.add(output, forecast.target(batch([105.0, 119.0], [1.0, 3.0])))
    found = meters.result()
    assert found["coverage"] == pytest.approx(0.75)
    assert found["mae"] == pytest.approx((5 + 9 + 0 + 2) / 4)


def test_several_values_have_scales_of_their_own():
    forecast = OBJECTIVES["forecast"]()
    scale = torch.tensor([[[10.0, 0.0], [2.0, 5.0], [1.0, 10.0]]])
    target = forecast.target(Batch({"target": torch.tensor([[[14.0, 10.0]]]), "scale": scale}))
    output = torch.tensor([[[1.0, 1.0]]])  # 12 and 5: off by 2 and 5, in their scales by 1 and 1
    assert float(forecast.loss_function()(output, target)) == pytest.approx(1)
    meters = forecast.evaluation()
    meters.add(output, target)
    assert meters.result()["mae"] == pytest.approx(3.5)
    assert meters.result()["mase"] == pytest.approx((2 / 1 + 5 / 10) / 2)


def test_quantiles_beside_another_loss_are_refused():
    with pytest.raises(
        ValueError, match="`quantiles` are learned by `pinball`, and `loss` is huber: drop one of them"
    ):
        OBJECTIVES["forecast"](quantiles=[0.5], loss={"huber": {}})


SPEC = """\
dlx: 1
data: {{series: {{path: s.csv, values: y, time: t, group: g, window: 4, horizon: 2, standardize: series, test: 6}}}}
network: {{layers: [flatten, {{linear: {outputs}}}]}}
objective: {objective}
train: {{steps: {steps}, batch_size: 8, optimizer: {{adam: 0.03}}{more}}}
track: {{mlflow: false}}
"""


@pytest.fixture
def spec(tmp_path, monkeypatch):
    """Straight lines of two series that differ in size a thousandfold."""
    monkeypatch.chdir(tmp_path)
    lines = [f"{t},{g},{1000 * t + 5000 if g == 'b' else t}" for t in range(40) for g in "ab"]
    (tmp_path / "s.csv").write_text("\n".join(["t,g,y", *lines]) + "\n")

    def made(objective: str = "forecast", outputs: int = 2, steps: int = 400, more: str = ""):
        path = tmp_path / "s.yaml"
        path.write_text(SPEC.format(objective=objective, outputs=outputs, steps=steps, more=more))
        return path

    return made


def test_lines_are_gone_on_with_in_their_own_unit(spec):
    run = dlx.train(spec())
    # the next value of either line is exact for a linear layer: what is left is the end of the training
    assert run.result["test/mase"] < 0.2
    found = dlx.predict(run, "s.csv")
    assert list(found.names) == ["a 39", "b 39"]
    assert found.values[0] == pytest.approx([40, 41], abs=1)
    assert found.values[1] == pytest.approx([45_000, 46_000], abs=1000)


def test_untrained_it_is_far_off(spec):
    """The twin: one step is no training."""
    assert dlx.train(spec(steps=1)).result["test/mase"] > 2


def test_two_seeds_side_by_side_are_each_alone(spec):
    together = dlx.train(spec(steps=30, more=", seeds: 2"))
    alone = dlx.train(load(spec(steps=30)).changed(["train.seed=1"]))
    # products of several rows at once may be rounded otherwise, by the processor
    assert together.runs[1].result == pytest.approx(alone.result, rel=1e-5)


def test_data_without_series_is_told():
    from helpers import experiment_of

    from dlx.errors import SpecError

    text = """
    dlx: 1
    data: {synthetic: {shape: [4], target: [2]}}
    network: {layers: [{linear: 2}]}
    objective: forecast
    train: {epochs: 1}
    """
    with pytest.raises(SpecError, match="forecast learns the field `scale`, and the data has the target `target`"):
        prepare(experiment_of(text))


def test_a_network_of_another_width_is_told(spec):
    from dlx.errors import SpecError

    with pytest.raises(
        SpecError,
        match=r"the network ends in \(2,\), and each target of the data is \(2,\), for which pinball wants \(6,\)",
    ):
        prepare(load(spec("{forecast: {quantiles: [0.1, 0.5, 0.9]}}")))


def test_predictions_have_a_column_for_each_quantile(spec):
    run = dlx.train(spec("{forecast: {quantiles: [0.1, 0.5, 0.9]}}", outputs=6, steps=5))
    titles, rows = dlx.predict(run, "s.csv").rows()
    assert titles == ["input", "y+1 q0.1", "y+2 q0.1", "y+1 q0.5", "y+2 q0.5", "y+1 q0.9", "y+2 q0.9"]
    assert len(rows) == 2


def test_without_an_objective_series_are_forecast(spec):
    path = spec()
    path.write_text(path.read_text().replace("objective: forecast\n", ""))
    assert "test/mase" in dlx.train(load(path).changed(["train.steps=2"])).result


def test_the_model_of_mlflow_takes_rows_and_answers_for_each_series(spec):
    import pandas as pd

    from dlx.api.mlflow_model import _table
    from dlx.data import input_record, python_inputs
    from dlx.runs.folder import RunFolder
    from dlx.track.model import _columns
    from dlx.trained.predict import predict

    run, rows = dlx.train(spec(steps=5)), pd.read_csv("s.csv")
    folder = RunFolder(run.folder)
    table = _table(predict(folder, python_inputs.read(rows)), rows)

    assert list(table.index) == ["a 39", "b 39"]
    assert list(table.columns) == ["y+1", "y+2"]
    assert _columns(input_record.load(run.folder)).input_names() == ["y", "t", "g"]


def test_two_heads_of_forecasts_are_learned_and_answered_in_the_scale_of_each_series(spec):
    """A head of its own weights learns what a forecast alone learns; another one beside it has a loss of its own."""
    alone = dlx.train(spec(steps=100))
    path = spec("{near: forecast, far: {forecast: {loss: absolute_error}}}", steps=100)
    layers = "[flatten, {linear: 2, name: near}, {flatten: null, from: input}, {linear: 2, name: far}]"
    path.write_text(
        path.read_text().replace("[flatten, {linear: 2}]}", f"{layers}, outputs: {{near: near, far: far}}}}")
    )
    run = dlx.train(path)
    assert run.result["test/near/loss"] == pytest.approx(alone.result["test/loss"], rel=0.5)
    assert run.result["test/near/mase"] < 2  # in the unit of the file: unscaled it would be hundreds of them
    assert run.result["test/far/loss"] != run.result["test/near/loss"]
    titles, rows = dlx.predict(run, "s.csv").rows()
    assert titles == ["input", "near y+1", "near y+2", "far y+1", "far y+2"]
    assert rows[0][1:] == pytest.approx([40, 41, 40, 41], abs=10)
    assert rows[1][1:] == pytest.approx([45_000, 46_000, 45_000, 46_000], abs=10_000)
    worst = dlx.evaluate(run, wrong=2)
    assert worst is not None
