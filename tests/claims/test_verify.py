"""`dlx verify`: the receipts of the shipped specs hold, and one that does not hold is reported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import dlx
from helpers import ROOT, SHIPPED

from dlx.claims.verify import find_specs, verify
from dlx.errors import SpecError

WITH_VALUES = """\
dlx: 1
name: given
network:
  inputs: [2]
  layers:
    - linear: 2
      name: hidden
      values: {weight: [[1, 1], [1, -1]], bias: [0, 1]}
    - relu
    - linear: 1
      values: {weight: [[2, 3]], bias: 0}
expect:
"""


@pytest.fixture(scope="module")
def zoo():
    return {
        str(v.experiment.path.relative_to(ROOT / "specs")): v.receipts for v in verify(find_specs([ROOT / "specs"]))
    }


def run_dlx(*args: str, cwd: Path = ROOT):
    return dlx(*args, cwd=cwd)


def written_spec(tmp_path, claims: str) -> Path:
    path = tmp_path / "given.yaml"
    path.write_text(WITH_VALUES + claims)
    return path


def test_no_receipt_of_the_zoo_fails(zoo):
    failing = [f"{spec}: {r.claim.title}: {r.why}" for spec, rs in zoo.items() for r in rs if r.verdict == "FAILS"]
    assert failing == []


def test_there_are_three_hundred_receipts_and_every_spec_has_one(zoo):
    judged = [r for rs in zoo.values() for r in rs if r.verdict in {"holds", "book wrong"}]
    assert len(judged) >= 300
    assert [spec for spec, rs in zoo.items() if not rs] == []
    assert len(zoo) == len(SHIPPED)


def test_every_receipt_names_its_source(zoo):
    assert [(spec, r.claim.title) for spec, rs in zoo.items() for r in rs if not r.claim.source] == []


def test_twice_the_variance_with_each_block_is_no_claim_that_holds_for_another_number_of_blocks(tmp_path):
    """Figure 11.6a: 2^4 after the four blocks of the figure, and 2^9 = 512 after nine."""
    path = tmp_path / "nine.yaml"
    path.write_text(SHIPPED["udl/figure-11-6"].read_text().replace("times: 4", "times: 9"))
    (one,) = verify([path])
    assert {receipt.verdict for receipt in one.receipts} == {"FAILS"}
    assert [receipt.ours for receipt in one.receipts if receipt.claim.quantity == "paths"] == [512]


def test_the_known_mistakes_of_the_books_are_on_record(zoo):
    wrong = {
        (spec.split("/")[0], str(r.claim.figures["book"]))
        for spec, rs in zoo.items()
        for r in rs
        if r.verdict == "book wrong"
    }
    assert ("udl", "150185") in wrong


@pytest.mark.parametrize(
    ("claims", "sentence"),
    [
        ("  output: {at: [1, 2], is: 7}", "claims output at [1, 2] 7, and it is 6"),
        ("  output: {at: 1, is: [3, 1], of: hidden}", "claims output of hidden at 1 [3, 1], and it is [2, 1]"),
        ("  output: {at: [1, 2], is: 6, of: hiden}", "there is no `hiden`"),
        ("  output: {at: [1, 2, 3], is: 6}", "`input` is (2,), and `at` gives (3,)"),
        ("  output: {at: [[1], [2, 3]], is: 6}", "`input` wants numbers in rows of one length, not [[1], [2, 3]]"),
        ("  output: {at: [1, true], is: 6}", "`input` wants numbers in rows of one length, not [1, true]"),
        ("  output: {at: {a: 1}, is: 6}", "`at` gives a, and the inputs are input"),
    ],
)  # fmt: skip
def test_exact_outputs_are_held_against_what_torch_makes_of_the_weights_of_the_spec(tmp_path, claims, sentence):
    (one,) = verify([written_spec(tmp_path, claims)])
    (receipt,) = one.receipts

    assert receipt.verdict == "FAILS"
    assert sentence in f"claims {receipt.claim.title} {receipt.claim.figures['is']}, and {receipt.why}"


def test_a_node_may_be_called_as_python_calls_its_own(tmp_path):
    path = written_spec(tmp_path, "  output: {at: [1, 2], is: [3, 0], of: sum}\n")
    path.write_text(path.read_text().replace("name: hidden", "name: sum"))
    (one,) = verify([path])

    assert [r.verdict for r in one.receipts] == ["holds"]


def test_weights_of_a_spec_are_not_rounded(tmp_path):
    path = written_spec(tmp_path, "  output: {at: [1, 0], is: 0.6000000000000001, within: 1e-15}\n")
    path.write_text(path.read_text().replace("[[2, 3]]", "[[0.6, 0]]"))
    (one,) = verify([path])

    assert [r.verdict for r in one.receipts] == ["holds"]


def test_an_output_that_agrees_holds_within_a_millionth_or_what_is_said(tmp_path):
    claims = "  output: [{at: [1, 2], is: 6.0000009}, {at: 0, is: 3.05, within: 0.1}, {at: [2, 1], is: [12]}]"
    (one,) = verify([written_spec(tmp_path, claims)])

    assert [r.verdict for r in one.receipts] == ["holds"] * 3


def test_the_command_prints_claim_book_and_verdict_and_fails_with_status_1(tmp_path):
    path = written_spec(tmp_path, "  params: {book: 10, is: 9, because: the bias of the output is one}\n  macs: 5\n")
    ran = run_dlx("verify", str(path))

    assert ran.returncode == 1
    assert "2 receipts of 1 spec: 1 book wrong, 1 FAILS" in ran.stdout
    assert "params: the bias of the output is one" in ran.stdout
    assert f"{path}:14:3: claims macs 5, and it is 6" in ran.stdout


def test_the_command_for_machines(tmp_path):
    path = written_spec(
        tmp_path, "  params: {book: 10, is: 9, because: the bias of the output is one, source: page 3}\n"
    )
    ran = run_dlx("verify", str(path), "--json")

    assert ran.returncode == 0
    assert json.loads(ran.stdout) == {
        "specs": [
            {
                "spec": str(path),
                "receipts": [
                    {
                        "claim": "params",
                        "source": "page 3",
                        "is": 9,
                        "book": 10,
                        "ours": 9,
                        "verdict": "book wrong",
                        "because": "the bias of the output is one",
                    }
                ],
                "arithmetic": [],
                "recorded": [],
            }
        ],
        "receipts": 1,
        "verdicts": {"holds": 0, "book wrong": 1, "FAILS": 0, "not run": 0},
        "arithmetic": {"holds": 0, "book wrong": 0, "FAILS": 0, "not run": 0},
        "recorded": {"holds": 0, "book wrong": 0, "FAILS": 0, "not run": 0},
    }


def test_only_one_verdict_can_be_asked_for(tmp_path):
    path = written_spec(tmp_path, "  params: 9\n  macs: 5\n")
    ran = run_dlx("verify", str(path), "--only", "holds")

    assert "params" in ran.stdout
    assert "claims macs" not in ran.stdout
    assert "1 holds, 1 FAILS" in ran.stdout


def test_a_spec_that_is_wrong_does_not_hide_the_others(tmp_path):
    good = written_spec(tmp_path, "  params: 9\n")
    bad = tmp_path / "bad.yaml"
    bad.write_text("dlx: 1\nnetwork: {inputs: [2], layers: [lineer]}\n")
    ran = run_dlx("verify", str(tmp_path))

    assert ran.returncode == 2
    assert "params" in ran.stdout
    assert f"{bad}:2:" in ran.stderr
    assert "there is no layer or block `lineer`" in ran.stderr
    assert good.name in ran.stdout


def test_claims_about_a_training_are_run_when_asked(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(
        "dlx: 1\nname: s\ndata: digits\nnetwork: {layers: [flatten, {linear: 10}]}\n"
        "train: {epochs: 2, optimizer: {adam: {lr: 0.01}}}\ntrack: {mlflow: false}\n"
        "expect: {test/accuracy: {at_least: 0.5}, test/loss: {at_least: 100}}\n"
    )
    assert "2 not run" in run_dlx("verify", str(path), cwd=tmp_path).stdout
    ran = run_dlx("verify", str(path), "--train", "--runs", str(tmp_path / "runs"), cwd=tmp_path)

    assert ran.returncode == 1
    assert "1 holds, 1 FAILS" in ran.stdout


def test_changes_are_made_to_every_spec_that_is_named(tmp_path):
    text = "dlx: 1\nvars: {width: 4}\nnetwork: {inputs: [2], layers: [{linear: '${width}'}]}\nexpect: {params: 12}\n"
    for name in ("one", "other"):
        (tmp_path / f"{name}.yaml").write_text(text)

    assert "2 receipts of 2 specs: 2 holds" in run_dlx("verify", str(tmp_path)).stdout
    assert "2 receipts of 2 specs: 2 FAILS" in run_dlx("verify", str(tmp_path), "vars.width=5").stdout


@pytest.mark.parametrize(
    ("make", "sentence"),
    [(lambda p: p / "none", "there is no "), (lambda p: p, "there are no specs in ")],
)
def test_nothing_to_verify_is_a_mistake(tmp_path, make, sentence):
    with pytest.raises(SpecError) as error:
        find_specs([make(tmp_path)])
    assert error.value.problems[0].message.startswith(sentence)


def test_an_input_that_torch_cannot_take_is_reported_and_hides_no_other_claim(tmp_path):
    path = tmp_path / "words.yaml"
    path.write_text(
        "dlx: 1\nname: words\nnetwork:\n  inputs: {word: {shape: [2], dtype: int}}\n  layers:\n"
        "    - embedding: {num_embeddings: 3, embedding_dim: 1}\n      values: {weight: [[0], [1], [2]]}\n"
        "expect:\n  output:\n    - {at: [0, 3], is: 0}\n    - {at: [0, 1.5], is: 0}\n"
        "    - {at: [1, 2], is: 0, of: word}\n"
        "    - {at: {}, is: 0}\n    - {at: [1, 2], is: [[1], [2]]}\n"
    )
    (one,) = verify([path])

    assert [r.why for r in one.receipts] == [
        "torch cannot run it: index out of range in self",
        "`word` wants whole numbers, not [0, 1.5]",
        "`word` is an input, and `of` names a node",
        "`at` gives nothing, and the inputs are word",
        "",
    ]


def test_a_network_that_does_not_fit_is_not_built(tmp_path):
    path = tmp_path / "huge.yaml"
    path.write_text(
        "dlx: 1\nname: huge\nnetwork: {inputs: [1_000_000], layers: [{linear: 1_000_000}]}\n"
        "expect: {output: {at: 0, is: 0}}\n"
    )
    (one,) = verify([path])

    assert one.receipts[0].why.startswith("two draws of the network take 16 TB, and ")


def test_nodes_whose_names_differ_by_a_slash_alone_are_distinguished(tmp_path):
    path = tmp_path / "names.yaml"
    path.write_text(
        "dlx: 1\nname: names\nnetwork:\n  inputs: [1]\n  layers:\n"
        "    - {layers: [{linear: 1, name: b, values: {weight: 2, bias: 0}}], name: a}\n"
        "    - {linear: 1, name: a_b, values: {weight: 5, bias: 0}}\n"
        "expect: {output: [{at: 1, is: 2, of: a.b}, {at: 1, is: 10, of: a_b}]}\n"
    )
    (one,) = verify([path])

    assert [r.verdict for r in one.receipts] == ["holds", "holds"]


def test_what_is_not_finite_is_written_in_words_as_json_has_none_for_it(tmp_path):
    ran = run_dlx("verify", str(written_spec(tmp_path, "  output: {at: .nan, is: 0}\n")), "--json")

    assert ran.returncode == 1
    assert json.loads(ran.stdout)["specs"][0]["receipts"][0]["ours"] == "nan"


def test_a_spec_that_is_wrong_stands_beside_the_receipts_of_the_others_for_machines_too(tmp_path):
    written_spec(tmp_path, "  params: 9\n  macs: 5\n")
    (tmp_path / "bad.yaml").write_text("dlx: 1\nnetwork: {inputs: [2], layers: [lineer]}\n")
    ran = run_dlx("verify", str(tmp_path), "--json")
    document = json.loads(ran.stdout)

    assert (ran.returncode, ran.stderr) == (2, "")
    assert document["verdicts"]["FAILS"] == 1
    assert [error["message"] for error in document["errors"]] == ["there is no layer or block `lineer`"]


def test_a_folder_may_hold_links_pipes_and_folders_that_are_called_like_specs(tmp_path):
    written_spec(tmp_path, "  params: 9\n")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "loop").symlink_to(".")
    (tmp_path / "gone.yaml").symlink_to("nowhere")
    (tmp_path / "circle.yaml").symlink_to("circle.yaml")
    os.mkfifo(tmp_path / "pipe.yaml")

    assert find_specs([tmp_path]) == [tmp_path / "given.yaml"]


def test_a_pipe_that_is_closed_early_is_no_claim_that_fails(tmp_path):
    path = written_spec(tmp_path, "  shape: {hidden: 2}\n  params: 9\n")
    more = [path.with_name(f"{i}.yaml") for i in range(400)]
    for each in more:
        each.write_text(path.read_text())
    shell = f"set -o pipefail; {sys.executable} -m dlx verify {tmp_path} | head -1"
    ran = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, cwd=ROOT, check=False)

    assert (ran.returncode, ran.stderr) == (0, "")


def test_the_earlier_name_of_a_bound_leads_to_what_it_is_called_now(tmp_path):
    path = tmp_path / "net.yaml"
    path.write_text(
        "dlx: 1\nname: net\nnetwork: {inputs: [1], layers: [{linear: 3}, relu, {linear: 1}]}\n"
        "expect:\n  linear_regions: 4\n"
    )
    with pytest.raises(SpecError) as refused:
        list(verify([path]))
    (problem,) = refused.value.problems
    assert problem.message == (
        "`linear_regions` is called `linear_regions_bound`: the number is the most that there can be, and no count"
    )
    assert problem.hint == "Write `linear_regions_bound`."
    assert (problem.mark.line, problem.mark.column) == (5, 3)
    path.write_text(path.read_text().replace("linear_regions", "linear_regions_bound"))
    (one,) = verify([path])
    assert [(r.claim.title, r.verdict) for r in one.receipts] == [("linear_regions_bound", "holds")]
    path.write_text(
        path.read_text().replace("linear_regions_bound: 4", 'figures: {a: {of: "${linear_regions}", is: 4}}')
    )
    (one,) = verify([path])
    assert "Did you mean `linear_regions_bound`" in one.receipts[0].why
