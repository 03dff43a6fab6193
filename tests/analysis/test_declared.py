"""Analyses that a spec declares: their mistakes, the claims on their figures, their place in a report."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import ClassVar

import pytest
from commands import dlx
from helpers import experiment_of
from pydantic import Field

from dlx.analysis import declared, spec_checks
from dlx.analysis.result import Lines, Panel, Result
from dlx.claims import verify
from dlx.errors import SpecError
from dlx.graph import trace_all
from dlx.report import page
from dlx.spec import load
from dlx.spec.analyses import ANALYSES, Analysis

HEAD = """dlx: 1
name: declared
data: {synthetic: {shape: [6], classes: 3, train: 60, valid: 20, test: 20}}
network: {layers: [{linear: 8}, relu, {linear: 3}]}
train: {steps: 30, batch_size: 20, optimizer: {sgd: 0.5}}
track: {mlflow: false}
"""


class FirstWeight(Analysis):
    """The first weight of the first layer, which can be read off the network itself."""

    kind: ClassVar[str] = "first_weight"
    source: ClassVar[str] = "the network itself"

    times: float = Field(1.0, description="what the weight is multiplied by")

    def run(self, subject) -> Result:
        value = float(subject.network().linear_1.weight.flatten()[0].detach()) * self.times
        note = ("after training",) if subject.trained else ()
        panels = (Panel("the first weight", "x", "y", (Lines("value", [0, 1], [value, value]),)),)
        return Result({"value": value, "size": abs(value)}, panels, (("value",), [[value]]), note)


def spec(folder: Path, more: str) -> Path:
    path = folder / "declared.yaml"
    path.write_text(HEAD + more)
    return path


def verdicts(path: Path, *changes: str, training: bool = False) -> list[tuple[str, object, str]]:
    (one,) = verify.verify([path], changes)
    one = verify.after_training(one, path.parent / "runs") if training else one
    return [(r.verdict, r.ours, r.why) for r in declared.judged(one, training=training).receipts]


@pytest.mark.parametrize(
    ("more", "place", "sentence", "hint"),
    [
        ("analyses: [first_weight]", "8:1", "`analyses` must be a mapping of names to kinds", "Write `analyses:"),
        ("analyses: {a-b: first_weight}", "8:12", "an analysis cannot be called `a-b`", "Letters, digits"),
        ("analyses: {units: first_weight}", "8:12", "is called `units`, which is another kind", "call it otherwise"),
        ("analyses: {a: first_wait}", "8:12", "there is no analysis `first_wait`", "Did you mean `first_weight`?"),
        ("analyses: {a: {first_weight: {tmes: 2}}}", "8:31", "`first_weight` has no field `tmes`", "`times`"),
        ("analyses: {a: {first_weight: {times: two}}}", "8:31", "`times` must be a number", "multiplied by"),
        (
            "analyses: {a: first_weight}\nexpect: {analysis/b/value: 1}",
            "9:10",
            "the spec has no analysis `b`",
            "There is a.",
        ),
        ("expect: {analysis/b/value: 1}", "8:10", "the spec has no analysis `b`", "Add it: `analyses:"),
        ("expect: {analysis/b: 1}", "8:10", "`analysis/b` names no figure of an analysis", "`analysis/NAME/FIGURE`"),
        (
            "analyses: {a: first_weight}\nexpect: {analysis/a/value: [1]}",
            "9:10",
            "`analysis/a/value` wants a number",
            "about",
        ),
    ],
)
def test_a_mistake_is_said_at_its_place_with_the_way_out(tmp_path, more, place, sentence, hint):
    path = spec(tmp_path, f"\n{more}\n")
    with pytest.raises(SpecError) as error:
        trace_all(load(path))
    (problem,) = error.value.problems
    assert str(problem.mark) == f"{path}:{place}"
    assert sentence in problem.message
    assert hint in problem.hint


def test_claims_on_an_analysis_hold_fail_and_say_what_there_is(tmp_path):
    more = """
analyses: {own: first_weight, thrice: {first_weight: 3}}
expect:
  analysis/own/size: {at_most: 0.41, source: "1 / sqrt(6), the bound of torch's initialisation"}
  analysis/thrice/size: {at_most: 1e-9}
  analysis/own/sise: 1
"""
    first = float(experiment_weights(tmp_path, more)[0])
    found = verdicts(spec(tmp_path, more))

    assert [verdict for verdict, _, _ in found] == ["holds", "FAILS", "FAILS"]
    assert found[0][1] == pytest.approx(abs(first), rel=1e-5)
    assert found[1][1] == pytest.approx(3 * abs(first), rel=1e-5)
    assert found[2][2] == "`first_weight` has no figure `sise`. Did you mean `size`?"


def told(path: Path) -> list[str]:
    with pytest.raises(SpecError) as error:
        spec_checks.check(load(path))
    return str(error.value).splitlines()


@pytest.mark.parametrize(
    ("declared", "figure", "sentence", "hint"),
    [
        ("units", "deaad", "`units` has no figure `deaad`", "Did you mean `dead`?"),
        (
            "linear_regions",
            "rdgions",
            "`linear_regions` has no figure `rdgions`",
            "Did you mean `regions` or `regions_low`?",
        ),
        (
            "hidden_states",
            "corelation_quote",
            "has no figure `corelation_quote`",
            "Did you mean `correlation_FEATURE`?",
        ),
        ("loss_landscape", "rise_b", "`loss_landscape` has no figure `rise_b`", "Did you mean `rise`?"),
    ],
)
def test_a_misspelt_figure_is_told_at_its_line_before_anything_runs(tmp_path, declared, figure, sentence, hint):
    path = spec(
        tmp_path, f"analyses: {{a: {declared}}}\nexpect:\n  params: {{at_least: 1}}\n  analysis/a/{figure}: 1\n"
    )
    found = "\n".join(told(path))

    assert f"{path}:10:3" in found
    assert sentence in found
    assert hint in found


@pytest.mark.parametrize(
    ("declared", "figure", "hint"),
    [
        ("{distances: {n: [1, inf]}}", "accuracy_k1_l2", "Did you mean `accuracy_k1_l1` or `accuracy_k1_linf`?"),
        ("{inversion: {layers: [relu_1]}}", "code_error_linear_1", "Did you mean `code_error_relu_1`?"),
        ("{inversion: {}}", "code_error_linear_3", "Did you mean `code_error_linear_2` or `code_error_linear_1`?"),
        ("{batch_norm_noise: {batch_sizes: [4, 8], points: 9}}", "blur_5", "Did you mean `blur_8` or `blur_4`?"),
        (
            "{forward_time: {batch_sizes: [16]}}",
            "seconds_cpu_8",
            "Did you mean `seconds_cpu_16` or `seconds_cuda_16`?",
        ),
    ],
)
def test_a_figure_of_a_layer_or_option_that_there_is_not_is_told_before_anything_runs(
    tmp_path, declared, figure, hint
):
    text = "analyses: {{a: {}}}\nexpect:\n  params: {{at_least: 1}}\n  analysis/a/{}: 1\n"
    found = "\n".join(told(spec(tmp_path, text.format(declared, figure))))

    assert f"has no figure `{figure}`" in found
    assert hint in found


ONE_INPUT = """\
dlx: 1
network: {inputs: [1], layers: [{linear: 3}, relu, {linear: 2, name: out}]}
"""
TWO_CLASSES = """\
dlx: 1
network: {layers: [{linear: 8}, relu, {linear: 2}]}
data: {blobs: {train: 100, classes: 2}}
train: {steps: 5, optimizer: sgd}
"""
TWO_WEIGHTS = """\
dlx: 1
network: {layers: [{linear: {out_features: 1, bias: false}}]}
data: {blobs: {train: 100, classes: 2}}
objective: binary_classification
train: {steps: 5, optimizer: sgd}
"""


@pytest.mark.parametrize(
    ("head", "declared", "there", "absent"),
    [
        # three units cut a line in three places at most, which makes four slopes
        (ONE_INPUT, "joints", "joint_3", "joint_4"),
        (ONE_INPUT, "joints", "slope_4", "slope_5"),
        (ONE_INPUT, "joints", "output_2_slope_1", "output_3_slope_1"),
        (ONE_INPUT, "joints", "joint_1", "joint_0"),
        (ONE_INPUT, "{joints: {most: 1}}", "joint_1", "joint_2"),
        (TWO_CLASSES, "decision_regions", "share_1", "share_2"),
        (TWO_CLASSES, "loss_landscape", "rise", "rise_2"),
        (TWO_CLASSES, "smoothness", "beta", "beta_2"),
        (TWO_CLASSES, "{distances: {k: [1, 500]}}", "accuracy_k100_l1", "accuracy_k500_l1"),
        (TWO_CLASSES, "{learning_curve: {sizes: [10, 20]}}", "error_20", "error_30"),
        (TWO_CLASSES, "learning_curve", "error_100", "error_99"),
        (TWO_WEIGHTS, "loss_surface", "start_1", "start_2"),
    ],
)  # fmt: skip
def test_a_figure_with_a_number_that_there_is_not_is_told_before_anything_runs(
    tmp_path, head, declared, there, absent
):
    path = tmp_path / "s.yaml"
    path.write_text(
        f"{head}analyses: {{a: {declared}}}\nexpect:\n  analysis/a/{there}: 1\n  analysis/a/{absent}: 1\n"
    )
    with pytest.raises(SpecError) as error:
        spec_checks.check(load(path))
    (problem,) = [one for one in error.value.problems if one.path.startswith("expect")]
    assert f"has no figure `{absent}`" in problem.message


def test_figures_of_optimizers_are_those_of_their_names():
    known = {"NAME": ["sgd", "my_adam"]}
    paths = ANALYSES["optimizer_paths"]
    assert paths.may_have("my_adam_loss", known)
    assert not paths.may_have("adam_loss", known)
    assert paths.figures_of(known)[:4] == ["minimum", "condition_number", "sgd_loss", "my_adam_loss"]


def test_figures_whose_parts_options_set_are_no_mistakes():
    names = {
        "distances": ["accuracy_k1_l2", "tied_k3_linf"],
        "learning_curve": ["error_0.5", "train_160", "error_1e+06"],
        "optimizer_paths": ["my_sgd_loss", "minimum"],
        "inversion": ["code_error_block_1_conv"],
        "layer_deletion": ["rise", "rise_2"],
    }

    assert [(k, n) for k, known in names.items() for n in known if not ANALYSES[k].may_have(n)] == []
    assert not ANALYSES["distances"].may_have("accuracy_k1")
    assert not ANALYSES["learning_curve"].may_have("eror_160")


def test_kinds_of_other_packages_may_leave_their_figures_open(tmp_path):
    assert verdicts(spec(tmp_path, "analyses: {a: first_weight}\nexpect: {analysis/a/sise: 1}\n"))[0][0] == "FAILS"


def experiment_weights(folder: Path, more: str):
    from dlx.analysis.subject import of_spec

    return of_spec(load(spec(folder, more))).network().linear_1.weight.detach().flatten()


def test_an_override_of_an_option_reaches_the_claim(tmp_path):
    path = spec(tmp_path, "analyses: {own: first_weight}\nexpect: {analysis/own/size: {at_least: 1e-3}}\n")

    assert verdicts(path)[0][0] == "holds"
    assert verdicts(path, "analyses.own.first_weight.times=0")[0][:2] == ("FAILS", 0.0)
    assert verdicts(path, "+analyses.other=first_weight")[0][0] == "holds"


def test_what_wants_a_training_is_judged_after_one_alone(tmp_path):
    path = spec(
        tmp_path,
        "analyses: {before: first_weight, after: {first_weight: {weights: trained}}}\n"
        "expect: {analysis/before/value: {at_least: -1}, analysis/after/value: {at_least: -1}}\n",
    )
    before, after = verdicts(path)
    assert (before[0], after[0]) == ("holds", "not run")
    assert "dlx verify --train" in after[2]

    same, trained = verdicts(path, training=True)
    assert (same[0], trained[0]) == ("holds", "holds")
    assert same[1] == before[1]
    assert not math.isclose(trained[1], before[1], rel_tol=1e-3)


def test_an_analysis_that_does_not_fit_is_said_before_training(tmp_path):
    path = spec(tmp_path, "analyses: {scale: {activation_scale: {layers: [liner_1]}}}\n")
    experiment = load(path)
    with pytest.raises(SpecError) as error:
        spec_checks.check(experiment, trace_all(experiment))

    (problem,) = error.value.problems
    assert str(problem.mark) == f"{path}:7:12"
    assert "Did you mean `linear_1`" in problem.hint
    refused = dlx("train", path, "--runs", tmp_path / "runs", cwd=tmp_path)
    assert (refused.returncode, (tmp_path / "runs").exists()) == (2, False)
    assert "names `liner_1`" in refused.stderr


def test_the_command_takes_the_name_of_a_declared_analysis(tmp_path):
    path = spec(tmp_path, "analyses: {scale: {activation_scale: {seeds: 2, layers: [relu_1]}}}\n")
    found = json.loads(dlx("analyze", "scale", path, "--set", "seeds=3", "--json", cwd=tmp_path).stdout)

    assert (found["name"], found["kind"], found["seeds"]) == ("scale", "activation_scale", 3)
    assert found["options"]["layers"] == ["relu_1"]


def test_a_name_that_is_its_kind_too_has_the_options_of_the_spec(tmp_path):
    path = spec(tmp_path, "analyses: {activation_scale: {activation_scale: {seeds: 2, layers: [relu_1]}}}\n")
    found = json.loads(dlx("analyze", "activation_scale", path, "--json", cwd=tmp_path).stdout)

    assert (found["seeds"], found["options"]["layers"]) == (2, ["relu_1"])


def test_a_report_shows_them_and_leaves_the_pictures_with_the_run(tmp_path):
    from dlx.experiment import runner

    experiment = load(
        spec(tmp_path, "analyses: {after: {first_weight: {weights: trained}}, no: {first_weight: 2}}\n")
    )
    run = runner.run(experiment, tmp_path / "runs").results[0].run
    found = page.page([str(run.dir)], tmp_path / "runs", page.PageOptions())

    assert 'id="analyses"' in found.html
    assert "after training" in found.html
    written = run.dir / "artifacts" / "figures"
    assert {path.name for path in written.iterdir()} >= {"after.svg", "after.json", "no.svg", "no.json"}
    after, no = (json.loads((written / f"{name}.json").read_text())["figures"]["value"] for name in ("after", "no"))
    assert after != pytest.approx(no / 2, rel=1e-3)


def test_a_spec_without_analyses_has_no_such_section_and_trains_to_the_same_bits(tmp_path):
    plain, more = experiment_of(HEAD), experiment_of(HEAD + "analyses: {own: first_weight}\n")

    assert plain.analyses == {}
    assert more.analyses == {"own": FirstWeight()}
