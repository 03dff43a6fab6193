"""`dlx plot`: what is drawn, of which runs, and the sentences where it cannot be."""

import csv
import json
import re
import statistics
from math import nan, sqrt
from xml.etree.ElementTree import XML

import numpy as np
import pytest
from commands import dlx
from jsonschema import ValidationError
from made_runs import made_run, made_study

from dlx.errors import DlxError
from dlx.report.charts import chart
from dlx.report.charts_files import content_of
from dlx.report.plot import Options, plot
from dlx.report.plot_figure import Figure, Series
from dlx.report.plot_groups import groups
from dlx.report.plot_records import curves_of


def errors(*values):
    """Evaluations after each epoch of four steps."""
    return {4 * (i + 1): {"valid/error": value, "valid/loss": 2 * value} for i, value in enumerate(values)}


@pytest.fixture
def root(tmp_path):
    """Three seeds of `wide`, whose errors are known, and one run of `narrow`."""
    for seed, (first, second) in enumerate([(0.4, 0.2), (0.5, 0.1), (0.3, 0.3)]):
        final = {"metrics": {"test/error": second, "valid/error": second}}
        made_run(tmp_path, "wide", seed, evaluations=errors(first, second), end=final, confusion=[[3, 1], [0, seed]])
    made_run(tmp_path, "narrow", 0, width=8, evaluations=errors(0.6, 0.5), end={"metrics": {"test/error": 0.5}})
    made_run(tmp_path, "gan", 0, end={"metrics": {"test/sliced_wasserstein": 0.5}})
    return tmp_path


def one(found, label, metric):
    (series,) = [s for s in found.figure.series if (s.label, s.metric) == (label, metric)]
    return series


# --- curves ---------------------------------------------------------------------------------------------------------


def test_seeds_are_their_mean_with_the_interval_of_student_s_t(root):
    """With two degrees of freedom the quantile is 4.302653 (any table of the t distribution)."""
    found = one(plot(["wide", "narrow"], root, Options(("valid/error",))), "wide", "valid/error")

    assert found.x.tolist() == [4, 8]
    assert found.y.tolist() == pytest.approx([0.4, 0.2])
    half = [4.302653 * statistics.stdev(values) / sqrt(3) for values in ([0.4, 0.5, 0.3], [0.2, 0.1, 0.3])]
    assert (found.high - found.y).tolist() == pytest.approx(half, rel=1e-6)
    assert (found.y - found.low).tolist() == pytest.approx(half, rel=1e-6)


def test_two_seeds_have_their_range_as_band_and_the_legend_says_how_many(tmp_path):
    """The interval of two is 12.706 / sqrt(2) of their deviation: it swamps the picture."""
    for seed, last in enumerate((0.2, 0.1)):
        made_run(tmp_path, "two", seed, evaluations=errors(0.4, last), end={})
    made_run(tmp_path, "alone", width=8, evaluations=errors(0.5, 0.3), end={})
    figure = plot(["two", "alone"], tmp_path, Options(("valid/error",))).figure
    (two,) = [s for s in figure.series if s.label == "two"]
    assert (two.low.tolist(), two.high.tolist()) == ([0.4, 0.1], [0.4, 0.2])
    assert figure.band == "least and largest of two runs"
    svg = content_of(figure, "svg").decode()
    assert "two (n=2)" in svg
    assert "alone (n=" not in svg
    assert r"\addlegendentry{two (n=2)}" in content_of(figure, "tikz").decode()

    asked = plot(["two"], tmp_path, Options(("valid/error",), band="interval")).figure.series[0]
    assert asked.high[1] - asked.y[1] == pytest.approx(12.706205 * statistics.stdev((0.2, 0.1)) / sqrt(2))


def test_a_run_of_phases_is_drawn_by_its_losses_and_not_by_a_dot(tmp_path):
    run = made_run(tmp_path, "gan", evaluations={8: {"valid/sliced_wasserstein": 0.3}}, end={})
    lines = (run.dir / "metrics.jsonl").read_text().splitlines()
    point = {"record": "step", "time": 1_700_000_000.5, "epoch": 1}
    terms = {f"train/{phase}": 0.7 for phase in ("generator/fooling", "discriminator/real", "discriminator/fake")}
    lines[1:1] = [json.dumps({**point, "step": step, "metrics": terms}) for step in (1, 2)]
    (run.dir / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    figure = plot(["gan"], tmp_path, Options()).figure
    assert figure.panels == ["generator", "discriminator", "sliced_wasserstein"]
    assert figure.metrics("discriminator") == ["train/discriminator/real", "train/discriminator/fake"]
    assert [len(s.x) for s in figure.series] == [2, 2, 2, 1]


@pytest.mark.parametrize(("band", "low"), [("deviation", 0.4 - 0.1), ("range", 0.3), ("none", None)])
def test_a_band_can_be_another_one(root, band, low):
    found = one(plot(["wide"], root, Options(("valid/error",), band=band)), "wide", "valid/error")
    assert (found.low is None) if low is None else found.low[0] == pytest.approx(low)


def test_each_run_is_drawn_by_itself_where_that_is_asked_for(root):
    found = plot(["wide"], root, Options(("valid/error",), each=True))
    assert [s.y.tolist() for s in found.figure.series] == [[0.4, 0.2], [0.5, 0.1], [0.3, 0.3]]
    assert [s.label for s in found.figure.series] == ["wide, seed 0", "wide, seed 1", "wide, seed 2"]


def test_runs_of_one_name_are_called_by_what_differs_in_their_specs(tmp_path):
    for number, (width, rate) in enumerate([(32, 0.01), (32, 0.1), (8, 0.01)]):
        made_run(tmp_path, "net", number=number, width=width, rate=rate, evaluations=errors(0.5), end={})
    runs = sorted(folder.name for folder in (tmp_path / "net").iterdir())
    found = plot(runs, tmp_path, Options(("valid/error",)))
    assert [g.label for g in found.groups] == [
        "net, linear 32, adam 0.01",
        "net, linear 32, adam 0.1",
        "net, linear 8, adam 0.01",
    ]


def test_the_mean_ends_where_the_first_run_does_and_says_so(tmp_path):
    made_run(tmp_path, seed=0, evaluations=errors(0.4, 0.2, 0.1), end={})
    made_run(tmp_path, seed=1, evaluations=errors(0.2, 0.2), end={})
    found = plot([next((tmp_path / "wide").iterdir()).name], tmp_path, Options(("valid/error",)))
    assert one(found, "wide", "valid/error").y.tolist() == pytest.approx([0.3, 0.2])
    assert "the mean of valid/error of wide ends where the first of its 2 runs does" in found.notes


def test_an_epoch_has_its_last_point_and_a_pause_is_no_time_of_training(tmp_path):
    run = made_run(tmp_path, steps=[(1, 8.0), (4, 4.0), (5, 2.0), (8, 1.0)])
    text = (run.dir / "metrics.jsonl").read_text().splitlines()
    resumed = [re.sub(r'"time":([\d.]+)', lambda t: f'"time":{float(t[1]) + 3600}', line) for line in text[3:]]
    start = json.dumps({"record": "start", "time": 1_700_003_602.0})
    (run.dir / "metrics.jsonl").write_text("\n".join([*text[:3], start, *resumed]) + "\n")

    by_epoch = plot(["wide"], tmp_path, Options(("train/running_loss",), x="epoch")).figure.series[0]
    assert (by_epoch.x.tolist(), by_epoch.y.tolist()) == ([1, 2], [4.0, 1.0])
    by_time = plot(["wide"], tmp_path, Options(("train/running_loss",), x="time")).figure.series[0]
    assert by_time.x.tolist() == [1, 2, 3, 4]


def test_metrics_of_one_quantity_share_a_panel_and_the_losses_are_drawn_without_being_asked_for(tmp_path):
    made_run(tmp_path, evaluations=errors(0.4, 0.2), steps=[(1, 2.0), (5, 1.0)], end={})
    found = plot(["wide"], tmp_path, Options()).figure
    assert [(s.panel, s.metric) for s in found.series] == [
        ("loss", "valid/loss"),
        ("loss", "train/running_loss"),
        ("error", "valid/error"),
    ]


def test_records_are_read_alike_by_pyarrow_and_one_by_one(tmp_path):
    """A word for a figure that is not finite makes pyarrow give up, and a torn line is left for later."""
    steps = [(step, 1 / step) for step in range(1, 300)]
    clean = made_run(tmp_path, "clean", steps=steps, evaluations=errors(0.4, 0.2), end={})
    odd = made_run(tmp_path, "odd", steps=[*steps, (300, nan)], evaluations=errors(0.4, 0.2))
    with (odd.dir / "metrics.jsonl").open("a") as handle:
        handle.write('{"record":"step","time":17')

    quick, slow = curves_of(clean), curves_of(odd)
    assert slow["train/running_loss"].value[-1] != slow["train/running_loss"].value[-1]
    for name in ("train/running_loss", "valid/error"):
        ours, theirs = quick[name], slow[name]
        count = len(ours)
        for column in ("step", "epoch", "seconds", "value"):
            assert getattr(theirs, column)[:count].tolist() == getattr(ours, column).tolist(), (name, column)
    assert len(slow["train/running_loss"]) == 300


def test_no_peak_is_lost_where_points_are_more_than_pixels():
    values = np.zeros(100_000)
    values[[17, 31_415, 99_998]] = [3.0, -5.0, 2.0]
    full = Figure("curve", "step", (Series("a", "loss", "loss", np.arange(100_000), values),))
    (thin,) = full.thinned(2000).series
    assert len(thin.x) <= 2002
    assert {17, 31_415, 99_998, 0, 99_999} <= set(thin.x.tolist())
    assert values[thin.x].tolist() == thin.y.tolist()
    assert np.all(np.diff(thin.x) > 0)


def test_what_is_not_finite_leaves_the_curve_open(tmp_path):
    made_run(tmp_path, evaluations=errors(0.4, nan, 0.2))
    found = plot(["wide"], tmp_path, Options(("valid/error",)))
    assert "1 value of valid/error of wide is not finite" in found.notes
    assert found.as_json()["series"][0]["y"] == [0.4, None, 0.2]
    paths = lines_of(content_of(found.figure, "svg").decode())
    assert not any("NaN" in path for path in paths)


def test_a_logarithmic_axis_leaves_out_what_has_no_place_there(tmp_path):
    made_run(tmp_path, evaluations=errors(0.4, 0.0, 0.2))
    found = plot(["wide"], tmp_path, Options(("valid/error",), scale="log"))
    assert "1 value of valid/error of wide at 0 or below left out: the axis is log" in found.notes
    assert one(found, "wide", "valid/error").y.tolist() == [0.4, 0.2]


# --- bars, scatter, confusion matrices ------------------------------------------------------------------------------


def test_bars_have_the_final_figures_of_each_run(root):
    found = plot(["wide", "narrow"], root, Options(("test/error",), "bar"))
    assert sorted(one(found, "wide", "test/error").y.tolist()) == pytest.approx([0.1, 0.2, 0.3])
    assert one(found, "narrow", "test/error").low is None


@pytest.mark.parametrize(
    ("key", "wide"),
    [("params", 74 * 32), ("train.optimizer.adam.lr", 0.01), ("adam", 0.01), ("seconds", 9.5), ("valid/error", 0.2)],
)
def test_a_scatter_takes_any_number_that_a_run_has_recorded(root, key, wide):
    found = plot(["wide"], root, Options(("test/error",), "scatter", key))
    assert one(found, "wide", "test/error").x[0] == pytest.approx(wide)


def test_confusion_matrices_are_added_up_over_the_runs_of_a_group(root):
    (matrix,) = plot(["wide"], root, Options((), "confusion")).figure.matrices
    assert matrix.counts == ((9, 3), (0, 3))
    assert (matrix.classes, matrix.part, matrix.runs) == (("cat", "dog"), "test", 3)


# --- files ----------------------------------------------------------------------------------------------------------


def lines_of(svg):
    """The paths of the lines of a picture."""
    root = XML(svg)
    space = "{http://www.w3.org/2000/svg}"
    return [
        path.get("d", "")
        for group in root.iter(f"{space}g")
        if "mark-line role-mark" in group.get("class", "")
        for path in group.iter(f"{space}path")
    ]


def points_of(path):
    return [tuple(map(float, point.split(","))) for point in re.split("[ML]", path) if point]


def test_the_lines_of_the_picture_are_those_of_the_runs(root):
    """Both axes are linear, so distances between points are in the proportions of the values."""
    (path,) = lines_of(content_of(plot(["narrow"], root, Options(("valid/error",))).figure, "svg").decode())
    assert len(points_of(path)) == 2
    made = plot(["wide", "narrow"], root, Options(("valid/error",))).figure
    wide, narrow = (points_of(path) for path in lines_of(content_of(made, "svg").decode()))
    fall = [first[1] - last[1] for first, last in (wide, narrow)]
    assert fall[0] / fall[1] == pytest.approx((0.2 - 0.4) / (0.5 - 0.6), rel=1e-3)
    assert wide[0][1] - narrow[0][1] == pytest.approx((0.6 - 0.4) / (0.5 - 0.6) * fall[1], rel=1e-3)


@pytest.mark.parametrize(("form", "begins"), [("svg", b"<svg"), ("png", b"\x89PNG"), ("pdf", b"%PDF")])
@pytest.mark.parametrize("kind", ["curve", "bar", "scatter", "confusion"])
def test_every_kind_is_written_in_every_format(root, form, begins, kind):
    metrics = () if kind == "confusion" else ("valid/error",)
    options = Options(metrics, kind, "params" if kind == "scatter" else "")
    content = content_of(plot(["wide", "narrow"], root, options).figure, form, "dark")
    assert content.startswith(begins)
    if form != "pdf":  # whose fonts come in any order
        assert content == content_of(plot(["wide", "narrow"], root, options).figure, form, "dark")


def test_every_chart_is_valid_vega_lite(root):
    """By the schema of Vega-Lite, as altair has it."""
    altair = pytest.importorskip("altair")
    asked = {"curve": ("valid/error", "valid/loss"), "bar": ("test/error", "valid/error"), "scatter": ("test/error",)}
    for kind in ("curve", "bar", "scatter", "confusion"):
        options = Options(asked.get(kind, ()), kind, "seed" if kind == "scatter" else "")
        spec = chart(plot(["wide", "narrow"], root, options).figure)
        altair.Chart.from_dict(spec, validate=True)
        broken = json.loads(json.dumps(spec).replace('"nominal"', '"nomnal"').replace('"quantitative"', '"nomnal"'))
        with pytest.raises(ValidationError, match="nomnal"):
            altair.Chart.from_dict(broken, validate=True)


def test_csv_has_all_values_and_tikz_all_points(root):
    figure = plot(["wide", "narrow"], root, Options(("valid/error",))).figure
    rows = list(csv.DictReader(content_of(figure, "csv").decode().splitlines()))
    assert [(row["runs"], row["step"], float(row["value"])) for row in rows[2:]] == [
        ("narrow", "4", 0.6),
        ("narrow", "8", 0.5),
    ]
    text = content_of(figure, "tikz").decode()
    assert "coordinates {(4,0.6) (8,0.5)};" in text
    assert text.count("{") == text.count("}")
    assert text.count(r"\begin") == text.count(r"\end{")


def test_bars_in_tikz_keep_the_scale_the_sign_and_both_ends(root):
    of_range = content_of(plot(["wide"], root, Options(("test/error",), "bar", band="range")).figure, "tikz").decode()
    assert "coordinates {(0.2,0) += (0.1,0) -= (0.1,0)};" in of_range
    assert "xmin=0" in of_range
    logarithmic = content_of(plot(["wide"], root, Options(("test/error",), "bar", scale="log")).figure, "tikz")
    assert b"xmode=log" in logarithmic
    made_run(root, "below", end={"metrics": {"test/log_likelihood": -2.0}})
    below = content_of(plot(["below"], root, Options(("test/log_likelihood",), "bar")).figure, "tikz").decode()
    assert "(-2,0)" in below
    assert "xmin=0" not in below


def test_a_rate_that_stays_is_shown_as_it_is_where_its_mean_differs_in_the_last_digit():
    steps, mean = np.array([1, 2]), np.full((60, 2), 0.003).mean(0)
    assert mean[0] != 0.003
    figure = Figure("curve", "step", (Series("a", "lr", "lr", steps, mean, np.full(2, 0.003), mean, runs=60),))
    texts = {text.strip() for text in XML(content_of(figure, "svg")).itertext()}
    assert {"0.0028", "0.0030", "0.0032"} <= texts


def test_steps_are_written_in_full():
    steps = np.array([1_234_567, 1_234_568])
    figure = Figure("curve", "step", (Series("a", "loss", "loss", steps, np.array([0.5, 0.25])),))
    assert "1234567" in str(chart(figure))
    assert "1234568" in content_of(figure, "tikz").decode()


def test_a_run_whose_final_figure_is_not_finite_is_told(root):
    made_run(root, "wide", 7, end={"metrics": {"test/error": nan}})
    for options in (Options(("test/error",), "bar"), Options(("test/error",), "scatter", "params")):
        found = plot(["wide"], root, options)
        assert "1 value of test/error of wide is not finite" in found.notes


def test_points_within_an_epoch_are_no_early_end(tmp_path):
    each = {step: {"valid/error": 1 / step} for step in (2, 4, 6, 8)}
    made_run(tmp_path, seed=0, evaluations=each, end={})
    made_run(tmp_path, seed=1, evaluations=each, end={})
    found = plot(["wide"], tmp_path, Options(("valid/error",), x="epoch"))
    assert one(found, "wide", "valid/error").x.tolist() == [1, 2]
    assert not [note for note in found.notes if "ends where" in note]


def test_long_names_that_begin_alike_stay_two(tmp_path):
    names = ["a" * 70 + "b", "a" * 70 + "c"]
    for name in names:
        made_run(tmp_path, name, evaluations=errors(0.5), end={})
    labels = plot(names, tmp_path, Options(("valid/error",))).figure.labels
    assert len(set(labels)) == 2
    assert max(map(len, labels)) <= 60


def test_the_tick_at_a_value_that_is_the_only_one_is_not_rounded_to_a_whole_number(tmp_path):
    made_run(tmp_path, evaluations=errors(0.9497, 0.9497), end={})
    text = content_of(plot(["wide"], tmp_path, Options(("valid/error",))).figure, "svg").decode()
    ticks = {float(t) for t in re.findall(r">(\d\.\d+)<", text)}
    assert min(ticks) < 0.9497 < max(ticks)


def test_the_legend_of_a_scatter_has_filled_marks(root):
    figure = plot(["wide", "narrow"], root, Options(("test/error",), "scatter", "params")).figure
    legend = content_of(figure, "svg").decode().partition("role-legend")[2]
    assert 'fill="#0072b2"' in legend
    assert 'fill="#d55e00"' in legend


MARKUP = "<script>alert(1)</script>&\"'\\_{}%$#^~"


def test_names_with_markup_in_them_are_text(tmp_path):
    made_run(
        tmp_path,
        "a",
        evaluations={4: {f"valid/{MARKUP}": 0.5}},
        confusion=[[1, 0], [0, 1]],
        classes=[MARKUP, "b"],
        end={},
    )
    figure = plot(["a"], tmp_path, Options((f"valid/{MARKUP}",))).figure
    svg = content_of(figure, "svg").decode()
    assert any(MARKUP in (text or "") for text in XML(svg).itertext())
    assert "<script" not in svg
    matrix = content_of(plot(["a"], tmp_path, Options((), "confusion")).figure, "svg").decode()
    assert "<script" not in matrix
    XML(matrix)
    tikz = content_of(figure, "tikz").decode()
    assert r"\textless{}script\textgreater{}" in tikz
    assert re.sub(r"\\[{}]", "", tikz).count("{") == re.sub(r"\\[{}]", "", tikz).count("}")


# --- trials ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def study(tmp_path):
    rate, width = "train.optimizer.adam.lr", "network.layers.linear_1"
    points = [({rate: 0.1, width: 8}, 0.4), ({rate: 0.001, width: 32}, 0.1), ({rate: 0.01, width: 20}, 0.3)]
    return made_study(
        tmp_path,
        [(point | {"train.optimizer": name}, value) for name, (point, value) in zip("aba", points, strict=True)],
    )


def test_a_scatter_of_a_study_has_a_point_for_each_trial(study, tmp_path):
    (series,) = plot(
        [str(study)], tmp_path, Options(("test/error",), "scatter", "train.optimizer.adam")
    ).figure.series
    assert sorted(zip(series.x.tolist(), series.y.tolist(), strict=True)) == [(0.001, 0.1), (0.01, 0.3), (0.1, 0.4)]
    # other kinds show its best trial alone
    (best,) = plot([str(study)], tmp_path, Options(("valid/error",))).figure.series
    assert best.y.tolist() == [0.1]


def test_the_trials_of_a_study_are_lines_over_what_varies(study, tmp_path):
    found = plot([str(study)], tmp_path, Options(kind="parallel")).figure
    places = {axis.name: axis.places for axis in found.axes}
    # 0.001 to 0.1 is a ratio of 100: logarithmic, and 0.01 is half of the way
    assert places["lr"] == pytest.approx((1, 0, 0.5))
    assert places["linear_1"] == pytest.approx((0, 1, 0.5))  # (20 - 8) / (32 - 8)
    assert places["optimizer"] == (0, 1, 0)
    assert places["test/error"] == pytest.approx((1, 0, 2 / 3))
    assert (found.best, found.rising) == (1, False)
    assert found.as_json()["trials"][1] == {
        "trial": 1,
        "lr": 0.001,
        "linear_1": 32,
        "optimizer": "b",
        "test/error": 0.1,
    }
    svg = content_of(found, "svg").decode()
    lines = re.findall(
        r'<path aria-label="[^"]*" role="graphics-symbol" aria-roledescription="line mark" d="(M[^"]*)"', svg
    )
    assert sum(one.count("L") for one in lines) == 4 * 3  # three trials and the best once more, over four axes
    assert b"trial,lr,linear_1,optimizer,test/error" in content_of(found, "csv")


# --- sentences ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["wide", "--metric", "valid/eror"], "recorded the metric `valid/eror`\n  Did you mean `valid/error`"),
        (["wide", "--kind", "scatter"], "a scatter has two axes, and `--x` names no key"),
        (
            ["wide", "--kind", "scatter", "--x", "parms"],
            "none of the runs has a number under `parms`\n  Did you mean `params`?",
        ),
        (
            ["wide", "--x", "steps"],
            "a curve goes along step, epoch or time, and `--x` is `steps`\n  Did you mean `step`?",
        ),
        (
            ["wide", "--kind", "bar", "--x", "step"],
            "`--x` is for `--kind curve or scatter`, and this is `--kind bar`",
        ),
        (["wide", "--kind", "parallel"], "`--kind parallel` shows the trials of one study, and `wide` is none"),
        (["wide", "--kind", "gradients"], "wide recorded no gradients\n  Train with `train.log_gradients=true`."),
        (["narrow", "--kind", "confusion"], "narrow recorded no confusion matrix\n  Train with"),
        (["gan", "--kind", "confusion"], "gan recorded no confusion matrix\n  Classes are not learned."),
        (
            ["wide", "--kind", "confusion", "--part", "valid"],
            "has no confusion matrix of the part `valid`\n  It has those of test.",
        ),
        (
            ["wide", "--kind", "confusion", "--metric", "x"],
            "`--metric` is for `--kind curve or bar or scatter`",
        ),
        (["wide", "--part", "test"], "`--part` is for `--kind confusion or calibration or features"),
        (["wide", "--kind", "bar", "--x-scale", "log"], "`--x-scale` is for `--kind curve or scatter or gradients`"),
        (["wide", "--kind", "confusion", "--scale", "log"], "`--scale` is for `--kind curve or bar or scatter`"),
        (["wide", "--kind", "scatter", "--x", "params", "--band", "range"], "`--band` is for `--kind curve or bar`"),
        (["wide", "--theme", "dark", "--format", "csv"], "`--theme dark` is for pictures, and the format is csv"),
        (["wide", "--output", "a.gif"], "`a.gif` does not say its format"),
        (["wide", "--output", "a.png", "--format", "pdf"], "`--format pdf` and the file `a.png` differ"),
        (["wdie"], "there is no run `wdie`"),
        (
            ["wide", "--metric", "test/error"],
            "`test/error` is measured at the end alone, and has no curve\n  `--kind bar`",
        ),
        (["wide", "--output", "/proc/none/a.svg"], "/proc/none/a.svg cannot be written"),
    ],
)
def test_what_cannot_be_drawn_is_said(root, argv, sentence):
    done = dlx("plot", *argv, "--runs", root, cwd=root)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert not list(root.glob("plot.*"))


def test_runs_with_different_metrics(root):
    made_run(root, "other", evaluations={4: {"valid/perplexity": 3.0}}, end={})
    with pytest.raises(DlxError, match="the runs have no metric in common"):
        plot(["wide", "other"], root, Options())
    found = plot(["wide", "other"], root, Options(("valid/perplexity",)))
    assert found.notes == ("`valid/perplexity` is not recorded by wide, which has no part in it",)
    assert found.figure.labels == ["other"]


def test_of_many_runs_without_a_metric_some_are_named(root):
    made_run(root, "other", evaluations={4: {"valid/perplexity": 3.0}}, end={})
    for number in range(8):
        made_run(root, f"other{number}", evaluations={4: {"valid/loss": 3.0}}, end={})
    asked = Options(("valid/perplexity",))
    two = plot(["other", "other0", "other1"], root, asked)
    assert two.notes == ("`valid/perplexity` is not recorded by other0 and other1, which have no part in it",)
    all_of_them = plot(["other", *(f"other{number}" for number in range(8))], root, asked)
    assert "by other0, other1, other2, other3, other4 and 3 more, which have no part in it" in all_of_them.notes[0]


def test_a_run_that_has_died_is_drawn_as_far_as_it_is_recorded(tmp_path):
    run = made_run(tmp_path, evaluations=errors(0.4, 0.2))
    with (run.dir / "metrics.jsonl").open("a") as handle:
        handle.write('{"record":"evalu')
    found = plot(["wide"], tmp_path, Options(("valid/error",)))
    assert one(found, "wide", "valid/error").y.tolist() == [0.4, 0.2]
    assert found.notes == (f"{run.key} has died: it is drawn as far as it is recorded",)


def test_a_metric_that_was_never_finite_is_a_note(tmp_path):
    run = made_run(tmp_path, evaluations={4: {"valid/error": 0.5, "valid/odd": nan}, 8: {"valid/odd": nan}}, end={})
    curves = curves_of(run)
    assert (curves["valid/error"].value.tolist(), np.isnan(curves["valid/odd"].value).all()) == ([0.5], True)
    assert "2 values of valid/odd of wide are not finite" in plot(["wide"], tmp_path, Options(("valid/odd",))).notes


def test_the_command_says_where_the_picture_is(root):
    done = dlx("plot", "wide", "narrow", "--metric", "valid/error", "--runs", root, cwd=root, check=True)
    assert (done.stdout, done.stderr) == ("plot.svg\n", "")
    assert len(lines_of((root / "plot.svg").read_text())) == 2
    again = dlx("plot", "wide", "--metric", "valid/error", "--json", "--output", "a.csv", "--runs", root, cwd=root)
    document = json.loads(again.stdout)
    assert document["file"] == "a.csv"
    assert document["series"][0]["y"] == pytest.approx([0.4, 0.2])
    assert document["band"] == "95 % interval of the mean"


def test_a_label_has_an_id_only_where_another_would_be_the_same(tmp_path):
    ends = [(0.01, 0, {}), (0.02, 0, {}), (0.02, 1, None)]
    made = [
        made_run(tmp_path, seed=seed, number=i, rate=rate, evaluations={4: {"valid/error": 0.5}}, end=end)
        for i, (rate, seed, end) in enumerate(ends)
    ]
    first, *others = [group.label for group in groups([str(run.dir) for run in made], tmp_path)]
    assert "0.01" in first
    assert made[0].id not in first
    assert all(label.startswith(f"wide {made[1].id}") for label in others)
