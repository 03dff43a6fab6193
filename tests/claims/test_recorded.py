"""What is no receipt stands apart: figures of one's own trainings, and arithmetic that holds for any network."""

import json
import re

import pytest
from commands import dlx
from helpers import ROOT, SHIPPED

from dlx.errors import SpecError
from dlx.graph import trace, unmet
from dlx.graph.expect import claims, receipts
from dlx.spec import load

SPEC = """\
dlx: 1
name: own
source: a book
vars: {width: 8, rows: 1259}
data: digits
network: {layers: [flatten, {linear: "${width}"}, relu, {dropout: 0.25}, {linear: 10}]}
objective: {classification: {l2: 0.001}}
train: {epochs: 1, batch_size: 32, optimizer: {sgd: {lr: 0.1, momentum: 0.9}}}
track: {mlflow: false}
"""


def spec(tmp_path, sections: str):
    path = tmp_path / "own.yaml"
    path.write_text(SPEC + sections)
    return path


def ran(tmp_path, *args: str):
    return dlx("verify", *args, "--runs", str(tmp_path / "runs"), cwd=tmp_path)


# --- recorded -------------------------------------------------------------------------------------------------------

BOTH = """\
expect: {params: 610, test/accuracy: {at_least: 0.2}}
recorded:
  test/accuracy: {at_least: 0.2, source: results/own.md}
  test/error: {at_most: 0.01, source: "results/own.md: three seeds"}
"""


def test_recorded_figures_are_no_receipts_and_not_looked_at_until_they_are_asked_for(tmp_path):
    printed = ran(tmp_path, str(spec(tmp_path, BOTH))).stdout

    assert "2 receipts of 1 spec: 1 holds, 1 not run" in printed
    assert "2 recorded figures: `dlx verify --recorded` trains and checks them" in printed
    assert "test/error" not in printed


def test_recorded_figures_are_checked_by_training_and_one_that_is_no_longer_so_is_told_at_its_place(tmp_path):
    path = spec(tmp_path, BOTH)
    told = ran(tmp_path, str(path), "--recorded")

    assert told.returncode == 1
    assert "2 recorded figures of 1 spec: 1 holds, 1 FAILS" in told.stdout
    assert f"{path}:13:3: claims test/error at most 0.01, and it is 0." in told.stdout
    assert "receipt" not in told.stdout


def test_with_both_asked_for_one_training_judges_both_and_each_is_counted_apart(tmp_path):
    told = ran(tmp_path, str(spec(tmp_path, BOTH)), "--recorded", "--train", "--json")
    found = json.loads(told.stdout)

    assert (found["receipts"], found["verdicts"]["holds"]) == (2, 2)
    assert (found["recorded"]["holds"], found["recorded"]["FAILS"]) == (1, 1)
    assert [one["claim"] for one in found["specs"][0]["recorded"]] == ["test/accuracy", "test/error"]
    assert len(list((tmp_path / "runs").glob("*/*/spec.yaml"))) == 1


def test_a_training_that_misses_a_recorded_figure_alone_ends_well(tmp_path):
    path = spec(tmp_path, BOTH)
    assert unmet(load(path), trace(load(path))) == []
    told = dlx("train", str(path), "--runs", str(tmp_path / "runs"), cwd=tmp_path)
    assert told.returncode == 0


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ("recorded: {test/error: 0.1}", "begins with the file that has it, and it has none"),
        ("recorded: {test/error: {is: 0.1, source: mine}}", "begins with the file that has it, not with `mine`"),
        ("recorded: {params: {is: 4, book: 3, because: x, source: a.md}}", "a claim has no `because`"),
        ("recorded: {parms: 3}", "there is no claim `parms`"),
    ],
)
def test_a_recorded_figure_names_the_file_that_has_it_and_no_book(tmp_path, section, sentence):
    with pytest.raises(SpecError) as error:
        trace(load(spec(tmp_path, section)))
    assert sentence in str(error.value)
    assert str(error.value).startswith(f"{tmp_path / 'own.yaml'}:10:")


def test_every_recorded_figure_of_the_shipped_specs_stands_in_the_page_that_it_names():
    found = [(name, claim) for name, path in SHIPPED.items() for claim in claims(load(path), "recorded")]
    assert len(found) >= 22
    for name, claim in found:
        page = (ROOT / re.match(r"[^\s:;,]+", claim.source)[0]).read_text()
        figure = claim.figures.get("about", claim.figures.get("at_least"))
        # as a share or in percent, and its last digits rounded away in the spec
        numbers = [float(one) for one in re.findall(r"\d+\.\d+", page)]
        near = 0.5 * 10.0 ** -len(str(figure).partition(".")[2])
        assert any(abs(one - figure) <= near or abs(one / 100 - figure) <= near for one in numbers), (
            name,
            claim.title,
        )


def test_no_receipt_of_the_shipped_specs_cites_a_measurement_of_dlx():
    own = re.compile(r"benchmarks|measure|seeds|dlx", re.IGNORECASE)
    cited = {
        f"{name} {c.title}" for name, path in SHIPPED.items() for c in claims(load(path)) if own.search(c.source)
    }
    assert cited == {
        # scikit-learn's own seeds
        "zoo/distillation test/accuracy",
        "zoo/lottery-ticket test/accuracy",
    }


# --- figures and arithmetic -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of", "value"),
    [
        ("${train.epochs * 1259 / train.batch_size}", 39.34375),
        ("${train.optimizer.sgd.lr / (1 - train.optimizer.momentum)}", 1.0),
        ("${objective.classification.l2}", 0.001),
        ("${data.fold}", None),
        ("${dropout_1.p * 8}", 2.0),
        ("${count.linear + count.relu}", 3),
        ("${params - width}", 602),
    ],
)
def test_figures_follow_from_settings_and_from_the_fields_and_counts_of_layers(tmp_path, of, value):
    path = spec(tmp_path, f'expect: {{figures: {{this: {{of: "{of}", is: 1}}}}}}')
    (found,) = receipts(load(path), trace(load(path)))

    assert found.ours == (None if value is None else pytest.approx(value))
    assert found.why == ("`data.fold` is not set. Set it, or name what is." if value is None else found.why)


@pytest.mark.parametrize(
    ("of", "sentence"),
    [
        ("${train.stps}", "there is no `train.stps`. Did you mean `steps`?"),
        ("${train.optimizer}", "`train.optimizer` is no figure. Name a field of it"),
        ("${count.lineer}", "there is no layer `lineer`. Did you mean `linear`?"),
        ("${count}", "`count` is no figure. Name a kind of layers"),
        ("${dropout_1.inplac}", "there is no `inplac` of `dropout_1`. There are activation_bytes,"),
    ],
)
def test_a_figure_that_names_nothing_fails_with_what_there_is(tmp_path, of, sentence):
    path = spec(tmp_path, f'expect: {{figures: {{this: {{of: "{of}", is: 1}}}}}}')
    (found,) = receipts(load(path), trace(load(path)))

    assert found.verdict == "FAILS"
    assert sentence in found.why


@pytest.mark.parametrize("of", ["${2 * 3}", "${width * rows}", "${[w for w in range(3)][2] + pi}"])
def test_a_figure_of_numbers_and_variables_alone_is_refused_for_it_holds_whatever_the_network_is(tmp_path, of):
    with pytest.raises(SpecError) as error:
        trace(load(spec(tmp_path, f'expect:\n  figures:\n    epochs: {{of: "{of}", is: 6}}\n')))
    assert str(error.value).startswith(f"{tmp_path / 'own.yaml'}:12:14  expect.figures.epochs.of\n")
    assert "`epochs` holds for any network and any training: it has numbers and `vars` alone" in str(error.value)
    assert "or claim it under `arithmetic`, which is no receipt" in str(error.value)


def test_arithmetic_is_counted_apart_fails_like_a_receipt_and_takes_nothing_of_the_network(tmp_path):
    wrong = spec(tmp_path, 'expect: {params: 610, arithmetic: {six: {of: "${2 * 3}", is: 7}}}')
    told = ran(tmp_path, str(wrong))

    assert told.returncode == 1
    assert "1 receipt of 1 spec: 1 holds\n1 arithmetic figure: 1 FAILS" in told.stdout
    assert "claims six 7, and it is 6" in told.stdout
    with pytest.raises(
        SpecError, match=r"`six` is no mere arithmetic: it names `params`\n  Claim it under `figures`"
    ):
        trace(load(spec(tmp_path, 'expect: {arithmetic: {six: {of: "${params}", is: 610}}}')))


def test_epochs_of_a_training_that_is_cut_short_are_no_longer_those_of_the_book():
    """A figure of `vars` alone held with ten steps too."""
    claimed = {one.claim.title: one.verdict for one in figures("udl/mnist1d-conv")}
    short = {one.claim.title: one.verdict for one in figures("udl/mnist1d-conv", "train.steps=10")}
    assert (claimed["epochs"], short["epochs"]) == ("holds", "FAILS")


def figures(name: str, *changes: str):
    loaded = load(SHIPPED[name], changes)
    return [one for one in receipts(loaded, trace(loaded)) if one.claim.quantity == "figures"]


# --- a spec that is changed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["inspect", "train"])
def test_claims_that_a_change_makes_wrong_are_a_line_and_no_failure(tmp_path, command):
    path = spec(tmp_path, "expect: {params: 610, depth: 2, weights: {linear_1: 512}, test/error: {at_most: 0}}\n")
    asked = [*([] if command == "inspect" else ["--quiet", "--runs", str(tmp_path / "runs")]), str(path)]
    changed = dlx(command, *asked, "vars.width=9", cwd=tmp_path)
    dropped = dlx(command, *asked, "vars.width=9", "~expect", cwd=tmp_path)
    written = dlx(command, *asked, cwd=tmp_path)

    two, three = "params and weights.linear_1", "params, weights.linear_1 and test/error"
    number, which = ("2 claims", two) if command == "inspect" else ("3 claims", three)
    told = f"{number} are of the spec as written, and do not hold with these changes: {which}."
    assert f"{path}:10:10  expect: {told} `dlx verify` judges them" in changed.stderr
    assert (changed.returncode, " claim" in dropped.stderr) == (0, False)
    assert (written.returncode, " claim" in written.stderr) == ((0, False) if command == "inspect" else (1, True))
    assert dlx("verify", str(path), "vars.width=9", cwd=tmp_path).returncode == 1
