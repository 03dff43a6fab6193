"""Runs with stages: each stage has curves, panels and figures of its own."""

import csv
import json

import pytest
from commands import dlx
from made_runs import made_run
from test_page import Elements

from dlx.report.page import PageOptions, page
from dlx.report.plot import Options, plot
from dlx.report.plot_records import curves_of
from dlx.report.plot_stages import ends_of
from dlx.runs.folder import RunFolder

SPEC = """\
dlx: 1
name: two
data: {digits: {valid: 0.2, test: 0.2}}
network: {layers: [flatten, {linear: 16}, relu, {linear: 10}]}
train: {steps: 12, seeds: 2, batch_size: 16, log_every: 2, evaluate_every: 4, optimizer: {adam: 1e-3}}
stages:
  - {name: first}
  - {name: second, freeze: [linear_1], train: {steps: 8}}
track: {mlflow: false}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two seeds of a spec with two stages, trained, and a run without stages."""
    home = tmp_path_factory.mktemp("stages")
    (home / "s.yaml").write_text(SPEC)
    dlx("train", "s.yaml", "--quiet", cwd=home, check=True)
    made_run(home / "runs", "plain", evaluations={4: {"valid/error": 0.5}}, end={})
    return home / "runs"


def runs_of(root):
    return [RunFolder(folder) for folder in sorted((root / "two").iterdir())]


def recorded(run, stage, metric):
    """The steps and values that the run's own lines have of a metric in a stage."""
    lines = map(json.loads, (run.dir / "metrics.jsonl").read_text().splitlines())
    return [
        (one["step"], one["metrics"][metric])
        for one in lines
        if one["record"] in {"step", "evaluation"} and one.get("stage") == stage and metric in one["metrics"]
    ]


def test_each_stage_has_curves_of_its_own(root):
    run = runs_of(root)[0]
    curves = curves_of(run)
    for stage, steps in (("first", [4, 8, 12]), ("second", [16, 20])):
        points = curves[f"{stage}/valid/error"]
        assert list(zip(points.step, points.value, strict=True)) == recorded(run, stage, "valid/error")
        assert (list(points.step), points.stage) == (steps, stage)
    assert "valid/error" not in curves
    # the same where a figure that is not finite makes each record be read by itself
    (run.dir.parent / "odd").mkdir(exist_ok=True)
    odd = RunFolder(run.dir.parent / "odd")
    text = (run.dir / "metrics.jsonl").read_text()
    (odd.dir / "metrics.jsonl").write_text(text.replace('"metrics":{', '"metrics":{"odd":"nan",', 1))
    slow = curves_of(odd)
    (odd.dir / "metrics.jsonl").unlink()
    odd.dir.rmdir()
    assert {name: one.step.tolist() for name, one in curves.items()} == {
        name: one.step.tolist() for name, one in slow.items() if name != "odd" and not name.endswith("/odd")
    }


def test_a_stage_is_a_panel_and_what_is_asked_for_is_drawn_of_each(root):
    figure = plot(["two"], root, Options()).figure
    assert figure.panels == [
        "loss, stage first",
        "accuracy, stage first",
        "loss, stage second",
        "accuracy, stage second",
    ]
    assert all(one.runs == 2 for one in figure.series)
    asked = plot(["two"], root, Options(("valid/error",))).figure
    assert [(one.metric, one.panel) for one in asked.series] == [
        ("first/valid/error", "error, stage first"),
        ("second/valid/error", "error, stage second"),
    ]
    of_one = plot(["two"], root, Options(("second/valid/error",))).figure
    assert [one.x.tolist() for one in of_one.series] == [[16, 20]]
    values = [dict(recorded(run, "second", "valid/error")) for run in runs_of(root)]
    assert of_one.series[0].y.tolist() == [pytest.approx((values[0][at] + values[1][at]) / 2) for at in (16, 20)]


def test_beside_a_run_without_stages_both_are_drawn(root):
    drawn = plot(["two", "plain"], root, Options(("valid/error", "first/valid/error")))
    assert [(one.label, one.metric) for one in drawn.figure.series] == [
        ("plain", "valid/error"),
        ("two", "first/valid/error"),
    ]
    assert any("`first/valid/error` is not recorded by plain" in note for note in drawn.notes)


def test_the_command_names_them_in_its_table(root):
    dlx("plot", "two", "--runs", root, "--metric", "valid/error", "-o", "a.csv", cwd=root, check=True)
    rows = list(csv.DictReader((root / "a.csv").read_text().splitlines()))
    assert [row["metric"] for row in rows] == ["first/valid/error"] * 3 + ["second/valid/error"] * 2
    missing = dlx("plot", "two", "--runs", root, "--metric", "third/valid/error", cwd=root)
    assert missing.returncode == 2
    assert "none of the runs has recorded the metric `third/valid/error`" in missing.stderr


def test_the_page_reports_by_stage(root):
    words = Elements(page(["two"], root, PageOptions()).html).words
    text = " ".join(words)
    assert "Stages of two, each at its end" in text
    titles = [one for one in words if ", stage " in one and not one.startswith("{")]
    assert titles[:3] == ["loss, stage first", "accuracy, stage first", "error, stage first"]
    assert "learning rate, stage second" in titles
    ends = [ends_of(run) for run in runs_of(root)]
    assert [(one.name, one.steps) for one in ends[0]] == [("first", 12), ("second", 8)]
    for run, each in zip(runs_of(root), ends, strict=True):
        assert dict(each[1].metrics) == run.end()["metrics"]
        lines = (run.dir / "metrics.jsonl").read_text().splitlines()
        stage = next(json.loads(one) for one in lines if '"record":"stage"' in one)
        assert dict(each[0].metrics) == stage["metrics"]
    mean = sum(each[0].metrics["test/error"] for each in ends) / 2
    assert f"{mean:.4g}" in text
    assert "Stages of" not in page(["plain"], root, PageOptions()).html
