"""Mistakes of users: each is reported once, at its place, with both sides and the way out."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import commands
import pytest
from complaints import layers_report, lines, of_layers, report

GOLDEN = Path(__file__).parent / "golden"


def test_every_mistake_of_a_spec_is_reported_at_once_in_the_order_of_the_file(tmp_path):
    wrong = (GOLDEN / "everything-wrong.yaml").read_text()
    assert report(tmp_path, wrong) + "\n" == (GOLDEN / "everything-wrong.txt").read_text()


# --- data and objective ---------------------------------------------------------------------------------------------

TWELVE = "network:\n  layers:\n    - flatten\n    - linear: 12\n"
CLASSES = """
s.yaml:{line}:7  network.layers.linear_1
  the network ends in (12,), and the data has 10 classes
  Let the last layer be `linear: 10`.
"""


@pytest.mark.parametrize("objective", ["", "objective: classification\n", "objective: {classification: {}}\n"])
def test_classes_of_the_data_are_held_against_the_outputs_whether_or_not_an_objective_is_named(tmp_path, objective):
    line = 5 + objective.count("\n")
    assert report(tmp_path, f"data: digits\n{objective}{TWELVE}") == CLASSES.format(line=line).strip()


def test_targets_of_the_data_are_held_against_the_outputs_too(tmp_path):
    text = report(tmp_path, "data: {synthetic: {shape: [3], target: [2]}}\n" + TWELVE)
    assert (
        "the network ends in (12,), and each target of the data is (2,)\n  Let the last layer be `linear: 2`." in text
    )


def test_a_network_without_layers_still_has_an_output(tmp_path):
    text = report(tmp_path, "data: digits\nnetwork: {layers: []}\n")
    assert text == lines(
        """
        s.yaml:2:1  network.outputs
          the network ends in (1, 8, 8), and the data has 10 classes
          Add `flatten` and a `linear`.
        """
    )


def test_an_objective_that_is_wrong_is_not_replaced_by_another(tmp_path):
    text = report(tmp_path, f"data: digits\nobjective: clasification\n{TWELVE}")
    assert text.startswith("s.yaml:2:1  objective\n  there is no objective `clasification`")
    assert "classes" not in text


def test_a_data_file_that_is_missing_is_reported_at_the_field_that_names_it(tmp_path):
    (tmp_path / "images.idx").write_text("")
    text = "data:\n  idx:\n    images: imagse.idx\n    labels: labels.idx\nnetwork: {layers: [relu, tnah]}\n"
    assert report(tmp_path, text) == lines(
        """
        s.yaml:3:5  data.idx.images
          imagse.idx does not exist
          Did you mean `images.idx`?
        s.yaml:5:26  network.layers.tnah_1
          there is no layer or block `tnah`
          Did you mean `tanh`?
        """
    )


@pytest.mark.parametrize(
    ("freeze", "sentence"),
    [
        ("[linear_2]", '`freeze` matches no node: "linear_2"\n  Did you mean `linear_1`?'),
        ("stem", '`freeze` matches no node: "stem"\n  There are linear_1, relu_1.'),
        ("{a: 1}", "`freeze` has no field `a`\n  There are the fields match, mode, until."),
        ("[3]", "not 3\n  Write `freeze: [stem, stage_1/*]`, or `{match: stem, until: {epoch: 3}}`."),
        (str(["x"] * 101), "`freeze` has 101 patterns, and 100 are the most"),
    ],
)
def test_freeze_that_matches_nothing_says_so(tmp_path, freeze, sentence):
    assert layers_report(tmp_path, "- linear: 3\n- relu", head=f"freeze: {freeze}\n").endswith(
        sentence
    ) or sentence in layers_report(tmp_path, "- linear: 3\n- relu", head=f"freeze: {freeze}\n")


def test_freeze_is_not_blamed_for_a_layer_that_is_wrong(tmp_path):
    text = layers_report(
        tmp_path, "- linear: 3\n- linera: 4\n- linear: 5", head="freeze: [linear_3, block_1/linear_1]\n"
    )
    assert text.count("\n") == 2
    assert "there is no layer or block `linera`" in text


@pytest.mark.parametrize(
    ("outputs", "sentence"),
    [
        ("lin", 'the output must be the name of a node, and "lin" is none\n  There are input, relu_1.'),
        (
            "{main: rleu_1}",
            'the output `main` must be the name of a node, and "rleu_1" is none\n  Did you mean `relu_1`?',
        ),
        ("[rlu_1]", 'the output `rlu_1` must be the name of a node, and "rlu_1" is none\n  Did you mean `relu_1`?'),
        ("[[relu_1]]", 'and ["relu_1"] is none\n  Write `outputs: {main: fc, aux: aux_fc}`.'),
        ("", "the output must be the name of a node, and nothing is none"),
        ("{}", "`outputs` names no node\n  Drop it: then it is the last layer."),
    ],
)
def test_outputs_that_name_nothing_say_so(tmp_path, outputs, sentence):
    assert sentence in report(tmp_path, of_layers("- relu") + f"  outputs: {outputs}\n")


# --- the command line -----------------------------------------------------------------------------------------------


def dlx(folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return commands.dlx(*argv, cwd=folder)


def test_what_is_no_spec_ends_with_status_2_and_without_a_traceback(tmp_path):
    (tmp_path / "empty.yaml").write_text("\n")
    (tmp_path / "binary.yaml").write_bytes(b"\x89PNG\x00\xff")
    (tmp_path / "broken.yaml").write_text("network: {layers: [relu\n")
    (tmp_path / "broken.toml").write_text("[network\n")
    sentences = {
        "missing.yaml": "missing.yaml\n  there is no such file\n",
        ".": ".\n  is a directory, not a spec\n  It holds binary.yaml, broken.toml, broken.yaml, empty.yaml.\n",
        "empty.yaml": "empty.yaml\n  is empty\n  `dlx new` writes a spec to start from.\n",
        "binary.yaml": "binary.yaml\n  is not a text file in UTF-8\n  A spec is YAML or TOML.\n",
        "broken.yaml": "broken.yaml:1:19\n  is not valid YAML: the `[` that opens here is not closed\n",
        "broken.toml": "broken.toml:1:9\n  is not valid TOML: Expected ']' at the end of a table declaration\n",
        "n" * 400 + ".yaml": "cannot be read: file name too long\n",
        "/dev/zero": "/dev/zero\n  is longer than 10,000,000 bytes, the most that a spec has\n",
    }
    for name, sentence in sentences.items():
        ended = dlx(tmp_path, "inspect", name)
        assert (ended.returncode, ended.stdout) == (2, ""), name
        assert ended.stderr.endswith(sentence) or ended.stderr.startswith(sentence), name


def test_json_has_every_mistake_with_its_place(tmp_path):
    (tmp_path / "s.yaml").write_text(of_layers("- cnv: 3\n- conv: 3") + "trian: {}\n")
    ended = dlx(tmp_path, "inspect", "s.yaml", "--json", "train.steps=0")
    assert (ended.returncode, ended.stderr) == (2, "")
    errors = json.loads(ended.stdout)["errors"]
    assert [(e["file"], e["line"], e["column"], e["path"]) for e in errors] == [
        ("override `train.steps=0`", None, None, "train.steps"),
        ("s.yaml", 4, 7, "network.layers.cnv_1"),
        ("s.yaml", 5, 7, "network.layers.conv_1.kernel_size"),
        ("s.yaml", 6, 1, "trian"),
    ]
    assert errors[1]["message"] == "there is no layer or block `cnv`"
    assert errors[1]["hint"] == "Did you mean `conv` or `p4_conv`?"


def test_many_mistakes_are_counted(tmp_path):
    (tmp_path / "s.yaml").write_text(of_layers("- cnv: 3\n- conv: 3"))
    assert dlx(tmp_path, "inspect", "s.yaml").stderr.endswith("\n2 problems\n")


TRAINED = """
data: {synthetic: {shape: [10], target: [1]}}
network: {layers: [{linear: 10}, {linear: 1}]}
train: {steps: 1000, device: cpu, evaluate_every: 1, optimizer: {sgd: {lr: 1e-5}}}
track: {mlflow: false}
"""


@pytest.fixture
def trained(tmp_path):
    (tmp_path / "s.yaml").write_text(TRAINED)
    return tmp_path


def test_a_network_of_a_million_million_parameters_is_refused_before_it_is_made(trained):
    changes = ["data.synthetic.shape=[1000000]", "network.layers.linear_1.out_features=1000000"]
    ended = dlx(trained, "train", "s.yaml", *changes)
    assert ended.returncode == 2
    assert "1,000,002,000,001 parameters want 8 TB (weights 4 TB, gradients 4 TB" in ended.stderr
    assert "GB are free\n" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (trained / "runs").exists()


def test_a_run_folder_that_cannot_be_written_is_refused(trained):
    (trained / "file").write_text("")
    ended = dlx(trained, "train", "s.yaml", "--runs", "file/runs")
    assert ended.returncode == 2
    assert ended.stderr == (
        "  runs cannot be written to file/runs/s: not a directory\n"
        "  Choose another folder with `--runs DIR`, or fix its permissions.\n"
    )


def test_a_loss_that_is_not_finite_stops_with_the_step_and_keeps_the_last_good_weights(trained):
    ended = dlx(trained, "train", "s.yaml", "train.optimizer.sgd.lr=1e10", "--json")
    assert ended.returncode == 1
    (error,) = json.loads(ended.stdout)["errors"]
    (folder,) = (trained / "runs" / "s").iterdir()
    end = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    assert error["message"] == "the loss is inf at step 2"
    assert f"The weights of step 1 are kept in runs/s/{folder.name}/checkpoints." in error["hint"]
    assert (folder / "checkpoints" / "step-000000001.safetensors").exists()
    assert (end["record"], end["status"], end["step"]) == ("end", "failed", 2)


def test_an_interrupt_keeps_what_is_done(trained):
    long = ("s.yaml", "train.steps=100000000", "train.evaluate_every=100")
    run = commands.started("train", *long, cwd=trained, env={**os.environ, "DLX_THREADS": "1"})
    deadline = time.monotonic() + 300
    while not list(trained.glob("runs/s/*/checkpoints/step-*.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    try:
        out, err = run.communicate(timeout=300)
    finally:
        run.kill()
    (folder,) = (trained / "runs" / "s").iterdir()
    end = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    assert run.returncode == 130
    assert out.startswith("stopped after ")
    assert "Traceback" not in err
    assert (end["record"], end["status"]) == ("end", "stopped")
    assert json.loads((folder / "checkpoints" / "stopped.json").read_text())["step"] == end["step"] > 0
