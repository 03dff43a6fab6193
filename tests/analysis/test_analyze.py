"""`dlx analyze`: what it looks at, its options, the forms that a result is written in, its mistakes."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from commands import dlx
from helpers import experiment_of

from dlx.analysis import analyze, fitting
from dlx.analysis.kinds.activation_scale import ActivationScale
from dlx.analysis.result import Bars, Heat, Lines, Panel, Pictures, Points, Result
from dlx.analysis.subject import of_runs, of_spec
from dlx.errors import DlxError, SpecError
from dlx.experiment import runner
from dlx.report import analysis_charts, analysis_files
from dlx.report.charts_style import COLOURS
from dlx.runs.folder import RunFolder
from dlx.spec import load

TEXT = """
name: small
data: {synthetic: {shape: [6], classes: 3, train: 60, valid: 20, test: 20}}
network: {layers: [{linear: 8}, relu, {linear: 3}]}
train: {steps: 20, batch_size: 20, optimizer: {sgd: 0.1}}
track: {mlflow: false}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return runner.run(experiment_of(TEXT), tmp_path_factory.mktemp("runs")).results[0].run


@pytest.fixture
def spec(tmp_path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(f"dlx: 1\n{TEXT}")
    return path


def test_a_spec_is_looked_at_with_the_weights_that_training_begins_with(run):
    from dlx.analysis.subject import of_run

    subject = of_spec(experiment_of(TEXT))
    fresh, again, other = subject.network(), subject.network(), subject.network(1)
    started = of_spec(experiment_of(TEXT.replace("steps: 20", "steps: 1").replace("sgd: 0.1", "sgd: 1e-30"))).train()

    assert torch.equal(fresh.linear_1.weight, again.linear_1.weight)
    assert not torch.equal(fresh.linear_1.weight, other.linear_1.weight)
    assert torch.equal(started.network().linear_1.weight, fresh.linear_1.weight)
    assert not torch.equal(of_run(run).network().linear_1.weight, fresh.linear_1.weight)


def test_examples_are_the_same_at_each_call_and_those_of_the_part():
    subject = of_spec(experiment_of(TEXT))
    first, again, other = subject.examples(5), subject.examples(5), subject.examples(5, seed=1)

    assert torch.equal(first["input"], again["input"])
    assert not torch.equal(first["input"], other["input"])
    rows = {tuple(row.tolist()) for row in subject.part("test").x}
    assert all(tuple(row.tolist()) in rows for row in first["input"])
    assert len(subject.examples(1000, part="train")) == 60
    with pytest.raises(DlxError, match="has no part `tets`"):
        subject.part("tets")


def test_without_data_inputs_are_normal_and_the_result_says_so():
    subject = of_spec(experiment_of("name: bare\nnetwork: {inputs: [4], layers: [{linear: 3}]}"))
    found = analyze.analyze(ActivationScale(), subject)

    assert abs(float(subject.examples(4000)["input"].std()) - 1) < 0.05
    assert "bare names no data: inputs are standard normal" in found.result.notes


def test_a_variant_that_is_trained_leaves_no_folder_behind():
    subject = of_spec(experiment_of(TEXT))
    variant = subject.train("train.seeds=2", "train.steps=5")
    folder = variant.runs[0].dir

    assert len(variant.runs) == 2
    assert variant.trained
    assert folder.is_dir()
    del variant
    assert not folder.exists()


def test_options_are_in_the_grammar_of_overrides():
    made = analyze.with_options("activation_scale", ["seeds=3", "layers=[a, 'b_*']", "measure=variance"])

    assert (made.seeds, made.layers, made.measure) == (3, ["a", "b_*"], "variance")


def test_one_value_is_the_only_item_of_a_list_and_of_nothing_else():
    assert analyze.with_options("activation_scale", ["layers=linear_1"]).layers == ["linear_1"]
    assert analyze.with_options("decision_regions", ["low=-1"]).low == -1
    with pytest.raises(SpecError, match="`seeds` must be"):
        analyze.with_options("activation_scale", ["seeds=[3]"])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["sedes=3"], "`activation_scale` has no field `sedes`"),
        (["seeds=none"], "`seeds` must be"),
        (["seeds=1,2"], "names several values"),
    ],
)
def test_a_wrong_option_is_an_error_at_its_place(options, sentence):
    with pytest.raises(SpecError, match=sentence) as error:
        analyze.with_options("activation_scale", options)
    assert error.value.problems[0].mark.file == f"--set {options[0]}"


def test_inf_is_a_word_where_an_option_has_it():
    assert analyze.with_options("adversarial", ["norm=inf"]).norm == "inf"
    assert analyze.with_options("distances", ["n=[1,inf]"]).n == [1, "inf"]
    with pytest.raises(SpecError, match="`norm` must be"):
        analyze.with_options("adversarial", ["norm=-inf"])


def test_mistakes_of_the_command_are_sentences(spec, run, tmp_path):
    def complaint(*argv: object) -> str:
        found = dlx("analyze", *argv, cwd=tmp_path)
        assert found.returncode == 2
        return found.stderr

    assert "Did you mean `activation_scale` or" in complaint("activation_scales", spec)
    assert "there is nothing to look at" in complaint("activation_scale")
    assert "Options of the analysis are `--set option=value`" in complaint("activation_scale", run.dir, "train.lr=1")
    assert "names `liner_1`, and small has no such layer" in complaint(
        "activation_scale", spec, "--set", "layers=[liner_1]"
    )
    assert "`picture.gif` does not say its format" in complaint("activation_scale", spec, "--out", "picture.gif")
    assert "an analysis looks at one spec or at runs" in complaint("activation_scale", spec, run.dir)


def test_what_stands_in_a_wrong_place_of_the_command_is_told_with_the_right_one(spec):
    def complaint(word: str, *rest: str) -> str:
        with pytest.raises(DlxError) as error:
            analyze.check_order(word, [text for text in rest if "=" not in text], [t for t in rest if "=" in t])
        return str(error.value)

    assert f"Write `dlx analyze units {spec}`." in complaint(str(spec), "units")
    assert "what is looked at comes first" in complaint(str(spec))
    assert "`--list` has all kinds" in complaint(str(spec)).replace("`dlx analyze --list`", "`--list`")
    assert "Write `--set seeds=3`." in complaint("activation_scale", str(spec), "seeds=3")
    analyze.check_order("activation_scale", [str(spec)], ["train.seed=3", "name=other"])
    analyze.check_order("scale", [str(spec)], ["seeds=3"])


def test_a_name_that_is_neither_a_spec_nor_a_run_is_told_as_what_it_looks_like(spec, run, tmp_path):
    def complaint(*names: str) -> str:
        with pytest.raises(DlxError) as error:
            analyze.subject_of(names, runs=run.dir.parents[1])
        return str(error.value)

    near = complaint(str(tmp_path / "smal.yaml"))
    assert "there is no such file" in near
    assert "small.yaml?" in near
    assert "`dlx specs zoo` lists the specs of that folder." in complaint("zoo")
    assert "`smaal` is no spec, and there is no run `smaal`" in complaint("smaal")
    assert f"{run.key} is named twice, and is one network" in complaint(run.key, str(run.dir))


def test_an_option_without_a_value_sets_nothing():
    with pytest.raises(SpecError, match=r"sets nothing: it has no `=`\n  Write `--set option=value`"):
        analyze.with_options("activation_scale", ["seeds"])


def test_a_file_that_cannot_be_written_is_told_before_anything_is_computed(spec, tmp_path, monkeypatch):
    monkeypatch.setattr(analyze, "analyze", lambda *_: pytest.fail("it was computed"))
    (tmp_path / "folder.svg").mkdir()
    for path, why in ((tmp_path / "folder.svg", "is a directory"), (spec / "x.svg", "not a directory")):
        with pytest.raises(DlxError, match=f"cannot be written: {why}\n  Choose another file with `--out`"):
            commands_analyze("activation_scale", [str(spec)], path)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["folder.svg", "small.yaml"]


def test_figures_are_printed_where_there_is_no_picture_to_write(spec, tmp_path, monkeypatch, capsys):
    bare = Result({"first": 0.25}, (), (("layer",), []))
    monkeypatch.setattr(ActivationScale, "run", lambda *_: bare)
    with pytest.raises(DlxError, match="has no figure, its numbers alone"):
        commands_analyze("activation_scale", [str(spec)], tmp_path / "x.svg")
    assert "0.25" in capsys.readouterr().out


def commands_analyze(kind: str, names: list[str], output: Path) -> None:
    from dlx.cli.analyses import analyze as command

    command(kind, names, None, output, "light", None, False, None, False, Path("runs"))


def test_a_spec_of_several_networks_is_refused_with_a_way_out():
    text = "name: two\nnetworks: {a: {inputs: [2], layers: [relu]}, b: {inputs: [2], layers: [relu]}}"
    for kind in ("activation_scale", "saliency", "adversarial", "cka"):
        found = fitting.problems_of(analyze.with_options(kind), of_spec(experiment_of(text)))
        assert found[0].message == "this analysis looks at one `network`, and two has `a`, `b`"
        assert found[0].hint == "Take a spec of one `network`, or a run of one."


def test_a_run_that_has_not_come_to_its_end_is_told_with_its_newest_checkpoint(run, tmp_path):
    copied = RunFolder(Path(shutil.copytree(run.dir, tmp_path / "small" / run.dir.name)))
    final = copied.dir / "checkpoints" / "final.safetensors"
    final.rename(final.with_name("step-000000007.safetensors"))
    with pytest.raises(DlxError, match=r"Its newest is `--checkpoint step-000000007`"):
        analyze.analyze(ActivationScale(), of_runs([copied]))


def test_data_that_has_changed_is_asked_back(run, tmp_path):
    copied = RunFolder(Path(shutil.copytree(run.dir, tmp_path / "small" / run.dir.name)))
    lock = copied.dir / "lock.json"
    text = json.loads(lock.read_text())
    text["data"]["digest"] = "0" * 64
    lock.write_text(json.dumps(text))
    with pytest.raises(DlxError, match="has changed: its digest was 000000000000") as error:
        analyze.analyze(ActivationScale(), of_runs([copied]))
    assert "Bring the old data back: a run is looked at" in str(error.value)
    assert "--data" not in str(error.value)


def test_a_key_that_is_dropped_is_a_change_of_the_spec(spec, tmp_path):
    found = dlx("analyze", "activation_scale", spec, "~train.optimizer", "--set", "seeds=1", "--json", cwd=tmp_path)

    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["of"] == "small"


def test_the_command_writes_a_picture_and_says_the_figures_as_json(spec, tmp_path):
    found = dlx("analyze", "activation_scale", spec, "--set", "seeds=2", "--out", "a.svg", "--json", cwd=tmp_path)
    told = json.loads(found.stdout)

    assert told["kind"] == "activation_scale"
    assert told["seeds"] == 2
    assert told["file"] == "a.svg"
    assert set(told["figures"]) >= {"growth_per_layer", "gradient_growth_per_layer"}
    assert "standard deviation" in (tmp_path / "a.svg").read_text()


def every_mark() -> tuple[Panel, ...]:
    grid = np.linspace(-1, 1, 5)
    return (
        Panel(
            "lines", "x", "y", (Lines("a", [1, 2], [1, 4], [0, 3], [2, 5]), Lines("b", [1, 2], [2, 2], dashed=True))
        ),
        Panel("points", "x", "y", (Points("p", [0, 1], [1, 0], labels=["7", "3"], numbers=True),)),
        Panel("bars", "", "y", (Bars("a", ["u", "v"], [1, 2], [0, 1], [2, 3]), Bars("b", ["u", "v"], [2, 1]))),
        Panel("values", "x", "y", (Heat(grid, grid, np.add.outer(grid, grid), contours=True, label="loss"),)),
        Panel("classes", "x", "y", (Heat(grid, grid, np.eye(5, dtype=int), classes=("no", "yes"), contours=True),)),
        Panel("pictures", "", "", (Pictures([("one", np.zeros((2, 2, 1))), ("two", np.ones((2, 2, 3)))], 1),)),
    )


def test_a_picture_has_every_mark_with_its_words():
    spec = analysis_charts.chart(every_mark())
    text = analysis_files.rendered(spec, "svg").decode()

    for words in ("lines", "points", "bars", "values", "classes", "yes", "loss", ">7<", ">u<"):
        assert words in text
    assert re.search('fill="#0072b2"[^>]*>7<', text)  # a number as a label has the colour of its class
    assert "pictures" not in text  # a sheet of its own
    sheet = analysis_files.sheet(every_mark()[-1:])
    assert [len(row.tiles) for row in sheet.rows] == [1, 1]


def test_a_result_is_json_whatever_it_holds():
    result = Result({"a": 1.5, "b": float("nan")}, every_mark(), (("x",), [[np.float32(2)]]), seeds=3)
    read = json.loads(json.dumps(result.as_json(), allow_nan=False))

    assert read["figures"] == {"a": 1.5, "b": None}
    assert read["table"] == {"titles": ["x"], "rows": [[2.0]]}
    kinds = [one["marks"][0]["kind"] for one in read["panels"]]
    assert kinds == ["lines", "points", "bars", "heat", "heat", "pictures"]


def test_a_run_whose_data_is_gone_is_said_where_the_data_is_needed(tmp_path):
    from dlx.analysis.subject import of_run

    rows = tmp_path / "rows.csv"
    rows.write_text("a,b,y\n" + "".join(f"{i},{-i},{'no' if i % 2 else 'yes'}\n" for i in range(40)))
    text = TEXT.replace(TEXT.split("\n")[2], f"data: {{table: {{path: {rows}, target: y, test: 0.2}}}}")
    run = runner.run(experiment_of(text.replace("linear: 3}", "linear: 2}")), tmp_path / "runs").results[0].run
    assert of_run(run).class_names() == ("no", "yes")
    rows.unlink()

    assert of_run(run).network().linear_1.weight.shape == (8, 2)
    with pytest.raises(DlxError, match=rf"the data of {run.key}: .*rows\.csv"):
        analyze.analyze(ActivationScale(), of_run(run))
    found = dlx("analyze", "activation_scale", run.dir, cwd=tmp_path)
    assert (found.returncode, "rows.csv" in found.stderr, "Traceback" in found.stderr) == (2, True, False)


def test_weights_that_are_not_finite_are_told_though_their_checksum_is_right(run, tmp_path):
    """As another program leaves them, that writes a checkpoint anew with its checksum."""
    copied = RunFolder(Path(shutil.copytree(run.dir, tmp_path / "small" / run.dir.name)))
    folder = copied.dir / "checkpoints"
    weights, facts = folder / "final.safetensors", folder / "final.json"
    tensors = safetensors.torch.load(weights.read_bytes())
    tensors["linear_2.weight"][0, 0] = torch.nan
    weights.write_bytes(safetensors.torch.save(tensors))
    about = json.loads(facts.read_text()) | {"sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}
    del about["facts_sha256"]
    about["facts_sha256"] = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    facts.write_text(json.dumps(about))
    with pytest.raises(DlxError, match=r"the weights `linear_2\.weight` of .*, checkpoint `final`, are not finite"):
        analyze.analyze(ActivationScale(), of_runs([copied]))


@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        ("adversarial", ["attack=fgsm", "steps=9"], "`steps` has no effect with `attack: fgsm`, which takes one"),
        ("adversarial", ["attack=deepfool", "norm=inf"], "`norm` has no effect with `attack: deepfool`"),
        ("saliency", ["noise=0.1"], "`noise` has no effect with `method: gradient`"),
        ("embedding_map", ["method=pca", "seeds=2"], "`seeds` has no effect with `method: pca`"),
        ("activation_scale", ["layers=[flatten_1]", "at=all"], "`at` has no effect beside `layers`"),
        ("interpolation", ["curve=0", "rate=0.1"], "`rate` has no effect with `curve: 0`"),
        ("smoothness", ["every=2"], "`every` has no effect without `updates`"),
        ("optimizer_paths", ["optimizers={a: {sgd: {}}}", "lr=0.1"], "`lr` has no effect beside `optimizers`"),
    ],
)
def test_an_option_that_changes_nothing_is_told_and_without_it_nothing_is(kind, options, sentence):
    subject = of_spec(load(Path("digits/lenet")))

    def told(given):
        found = fitting.problems_of(analyze.with_options(kind, given), subject)
        return [one.message for one in found if "has no effect" in one.message]

    assert [one[: len(sentence)] for one in told(options)] == [sentence]
    assert told(options[:-1]) == []


def drawn(*marks: object, **scales: object) -> str:
    panel = Panel("title", "x", "y", tuple(marks), **scales)  # type: ignore[arg-type]
    return analysis_files.rendered(analysis_charts.chart((panel,)), "svg").decode()


def test_whole_numbers_of_an_axis_are_named_once_each():
    texts = re.findall(r">(\d+)</text>", drawn(Lines("a", np.arange(1, 3), [10.25, 10.75])))
    assert texts.count("1") == texts.count("2") == 1


def test_a_dashed_line_is_dashed_in_the_legend_too():
    one, two = Lines("seen", [1, 2], [1, 4]), Lines("formula", [1, 2], [2, 2])
    dashes = [
        drawn(one, Lines(two.label, two.x, two.y, dashed=yes)).count("stroke-dasharray") for yes in (True, False)
    ]
    assert dashes[0] >= 2 > dashes[1]


def test_a_short_path_over_a_map_lies_above_a_long_one():
    grid = np.linspace(0, 1, 5)
    heat, short, long = (
        Heat(grid, grid, np.add.outer(grid, grid)),
        Lines("s", [0, 1], [0, 0]),
        Lines("l", [0, 1], [0, 1]),
    )
    for marks in ((short, long), (long, short)):
        text = drawn(heat, *marks)
        colours = dict(zip((one.label for one in marks), ("#0072b2", "#d55e00"), strict=True))
        paths = re.findall(r'<path aria-label="[^"]*"[^>]*stroke="(#\w+)"', text) or re.findall(
            r'<path[^>]*d="M[^"]*L[^"]*"[^>]*stroke="(#\w+)"', text
        )
        assert [one for one in paths if one in colours.values()][:2] == [colours["l"], colours["s"]]


def test_sizes_of_many_powers_of_ten_are_written_as_such():
    assert "1e+10" in drawn(Lines("a", [0, 1, 2], [1, 1e8, 1e16]), y_scale="log")
    assert "100" in drawn(Lines("a", [0, 1, 2], [1, 10, 1e3]), y_scale="log")


def test_layers_and_classes_of_a_map_stand_at_its_axes_by_name():
    heat = Heat(
        np.arange(1, 4), np.arange(1, 3), np.ones((2, 3)), x_names=("conv", "relu", "flat"), y_names=("a", "b")
    )
    texts = re.findall(r">([^<]+)</text>", drawn(heat))
    assert [one for one in texts if one in ("conv", "relu", "flat")] == ["conv", "relu", "flat"]
    assert {"a", "b"} <= set(texts)
    assert "1.5" not in texts


def test_a_chart_above_pictures_has_one_background():
    from types import SimpleNamespace

    panels = (*every_mark()[:1], *every_mark()[-1:])
    found = SimpleNamespace(kind="k", result=Result({}, panels))
    for theme, paper in (("light", "#ffffff"), ("dark", "#15191e")):
        text = analysis_files.content_of(found, "svg", theme).decode()  # type: ignore[arg-type]
        size = re.search(r'<svg[^>]* width="([\d.]+)" height="([\d.]+)"', text)
        assert size is not None
        assert f'<rect width="{size[1]}" height="{size[2]}" fill="{paper}"/>' in text


def test_points_of_classes_have_the_colours_of_their_map_and_one_legend():
    grid = np.linspace(-1, 1, 3)
    heat = Heat(grid, grid, np.zeros((3, 3), int), classes=("cat", "dog"), contours=False, label="class")
    spots = Points("examples", [0.0, 0.5], [0.0, 0.5], labels=["dog", "cat"])
    curves = analysis_charts.panel_of(Panel("t", "x", "y", (heat, spots)), "light")["layer"][-1]

    colour = curves["encoding"]["color"]
    assert dict(zip(colour["scale"]["domain"], colour["scale"]["range"], strict=True)) == {
        "cat": COLOURS[0],
        "dog": COLOURS[1],
    }
    assert colour["legend"] is None


def test_a_legend_shows_a_stroke_for_a_line_and_a_dot_for_points():
    marks = (Lines("law", [0, 1], [0, 1]), Points("runs", [0, 1], [1, 0]))
    legend = analysis_charts.panel_of(Panel("t", "x", "y", marks), "light")["layer"][-1]["encoding"]["color"][
        "legend"
    ]

    assert legend["symbolType"] == {"expr": "indexof([\"law\"], datum.label) >= 0 ? 'stroke' : 'circle'"}
