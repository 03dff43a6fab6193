"""The command line as a user meets it: streams, exit statuses, colour, and words."""

import csv
import io
import json
import re
import subprocess
import sys

import pytest
from commands import ROOT, dlx, dlx_on_terminal

LENET = str(ROOT / "specs/digits/lenet.yaml")


def on_terminal(*argv: str, columns: int = 80) -> str:
    """What a command prints on a terminal of so many columns."""
    return dlx_on_terminal(*argv, columns=columns)[1]


def test_help_names_every_command_and_gives_an_example():
    output = dlx("--help").stdout
    for command in ("inspect", "train", "runs", "layers", "schema", "new"):
        assert command in output
        assert "Example: dlx" in dlx(command, "--help").stdout


def test_the_version_is_reported():
    from dlx import __version__

    assert dlx("--version").stdout == f"dlx {__version__}\n"


def test_inspect_in_a_pipe_is_plain_and_uncut():
    result = dlx("inspect", LENET)
    assert result.returncode == 0
    assert "\x1b" not in result.stdout
    lines = result.stdout.splitlines()
    assert lines[1].split() == ["name", "kind", "output", "params", "MACs", "memory", "field"]
    assert "44,426 parameters" in lines
    assert all(line == line.rstrip() for line in lines)


def test_inspect_on_a_terminal_has_colour_and_keeps_to_the_width():
    output = on_terminal("inspect", LENET, columns=60)
    assert "\x1b[" in output
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
    assert max(len(line.rstrip()) for line in plain.splitlines()) <= 60
    assert "44,426 parameters" in plain


def test_a_narrow_terminal_keeps_the_names_and_loses_columns():
    plain = re.sub(r"\x1b\[[0-9;]*m", "", on_terminal("inspect", LENET, columns=40))
    assert plain.splitlines()[1].split() == ["name", "output", "params", "field"]
    assert "max_pool_1" in plain
    assert max(len(line.rstrip()) for line in plain.splitlines()[1:14]) <= 40


def test_a_batch_adds_the_memory_of_a_training_step():
    output = dlx("inspect", LENET, "--batch", "32", "--depth", "1").stdout.splitlines()
    assert ["training", "step", "at", "most", "at", "the", "peak"] in [line.split() for line in output]
    assert ["optimizer", "state", "355", "kB", "355", "kB"] in [line.split() for line in output]
    assert output[-1] == "1.15 MB at the peak of a training step of 32 samples, in the backward of relu_2"
    assert "training step" not in dlx("inspect", LENET).stdout


def test_the_memory_of_a_step_is_in_the_document_with_a_batch_size():
    document = json.loads(dlx("inspect", LENET, "--batch", "32", "--input", "1x10x10", "--json").stdout)
    parts = ["weights", "gradients", "optimizer", "buffers", "activations", "working"]
    assert list(document["memory"]) == ["batch", *parts, "total", "peak"]
    assert document["memory"]["batch"] == 32
    assert document["memory"]["optimizer"] == 2 * document["memory"]["weights"] == 2 * 4 * document["params"]
    assert document["memory"]["total"] == sum(document["memory"]["peak"][part] for part in parts)
    assert "memory" not in json.loads(dlx("inspect", LENET, "--json").stdout)


def test_inspect_json_has_the_documented_keys():
    document = json.loads(dlx("inspect", LENET, "--json").stdout)
    assert list(document) == [
        "name",
        "params",
        "trainable",
        "buffers",
        "macs",
        "activation_bytes",
        "receptive_field",
        "layers",
    ]
    assert document["receptive_field"] == {"size": [10, 10], "stride": [2, 2], "start": [-4, -4]}
    assert list(document["layers"][0]) == ["name", "kind", "inputs", "shape", "params", "macs", "receptive_field"]


def test_depth_folds_blocks_and_another_input_is_taken():
    resnet = "specs/cs231n/resnet50.yaml"
    rows = dlx("inspect", resnet, "--depth", "1").stdout.splitlines()
    assert sum(row.startswith("bottleneck_") for row in rows) == 16
    assert not any("/" in row for row in rows)
    wide = json.loads(dlx("inspect", resnet, "--input", "3x512x512", "--json").stdout)
    assert wide["params"] == 25_557_032
    assert wide["layers"][0]["shape"] == [64, 256, 256]


def test_one_layer_in_full():
    output = dlx("inspect", LENET, "--layer", "conv_2").stdout
    assert "(16, 6, 5, 5) = 2,400" in output
    assert "153,600" in output
    wrong = dlx("inspect", LENET, "--layer", "conv_9")
    assert wrong.returncode == 2
    assert "there is no layer `conv_9`\n  Did you mean `conv_2` or `conv_1`?" in wrong.stderr


def test_overrides_follow_the_spec():
    document = json.loads(dlx("inspect", LENET, "network.layers.linear_1.out_features=64", "--json").stdout)
    assert document["params"] == 156 + 2416 + 257 * 64 + 65 * 84 + 85 * 10


def test_a_mistake_goes_to_stderr_with_status_2_and_as_json_to_stdout(tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text("network:\n  inputs: [1, 8, 8]\n  layers:\n    - cnov: 3\n")
    result = dlx("inspect", str(path))
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(
        f"{path}:4:7  network.layers.cnov_1\n  there is no layer or block `cnov`\n  Did you mean `conv`"
    )
    as_json = dlx("inspect", str(path), "--json")
    assert as_json.returncode == 2
    (error,) = json.loads(as_json.stdout)["errors"]
    assert error | {"hint": ""} == {
        "file": str(path),
        "line": 4,
        "column": 7,
        "path": "network.layers.cnov_1",
        "message": "there is no layer or block `cnov`",
        "hint": "",
        "called_at": [],
        "values": [],
    }


def test_layers_lists_every_kind_and_shows_one_in_full():
    from dlx.layers import LAYERS

    output = dlx("layers").stdout
    assert all(re.search(rf"^{kind}\b", output, re.MULTILINE) for kind in LAYERS)
    page = dlx("layers", "conv").stdout
    assert "out_channels  int" in page
    assert "- conv: {out_channels: 16, kernel_size: 3, padding: 1}" in page
    assert "448 parameters, 442,368 MACs" in page
    document = json.loads(dlx("layers", "--json").stdout)
    assert {layer["kind"] for layer in document["layers"]} == set(LAYERS)
    wrong = dlx("layers", "cnov")
    assert wrong.returncode == 2
    assert "Did you mean `conv`" in wrong.stderr


@pytest.mark.parametrize("name", ["first.yaml", "first.toml"])
def test_new_writes_a_spec_that_trains_and_never_overwrites(tmp_path, name):
    assert dlx("new", name, cwd=tmp_path).returncode == 0
    assert dlx("inspect", name, cwd=tmp_path).returncode == 0
    result = dlx("train", name, "train.epochs=1", "track.mlflow=false", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "test/accuracy" in result.stdout
    again = dlx("new", name, cwd=tmp_path)
    assert again.returncode == 2
    assert "is there already, and stays as it is" in again.stderr


def test_inspect_writes_tables_for_documents_and_programs():
    plan = json.loads(dlx("inspect", LENET, "--format", "json").stdout)
    assert plan == json.loads(dlx("inspect", LENET, "--json").stdout)
    rows = list(csv.DictReader(io.StringIO(dlx("inspect", LENET, "--format", "csv").stdout)))
    assert [(row["name"], int(row["params"]), int(row["macs"])) for row in rows[1:]] == [
        (layer["name"], layer["params"], layer["macs"]) for layer in plan["layers"]
    ]
    markdown = dlx("inspect", LENET, "--format", "markdown").stdout
    assert markdown.startswith("**lenet-digits**\n\n| name | kind | output | params | MACs | memory | field |\n")
    assert "- 44,426 parameters\n" in markdown
    latex = dlx("inspect", LENET, "--format", "latex").stdout
    assert "\\begin{tabular}{llrrrrr}\n" in latex
    assert r"conv\_1 & conv & 6x8x8 & 156 & 9,600 &" in latex
    gan = list(csv.DictReader(io.StringIO(dlx("inspect", "zoo/gan", "--format", "csv").stdout)))
    assert {row["network"] for row in gan} == {"generator", "discriminator"}


def test_runs_lists_what_was_trained(tmp_path):
    assert "There are no runs in runs." in dlx("runs", cwd=tmp_path).stderr
    dlx("new", "first.yaml", cwd=tmp_path)
    dlx("train", "first.yaml", "train.epochs=1", "track.mlflow=false", cwd=tmp_path)
    rows = dlx("runs", cwd=tmp_path).stdout.splitlines()
    assert rows[0].split() == ["run", "status", "steps", "seconds", "metrics"]
    assert rows[1].startswith("first/")
    assert " finished " in rows[1]
    (run,) = json.loads(dlx("runs", "--json", cwd=tmp_path).stdout)["runs"]
    assert run["status"] == "finished"
    assert "test/accuracy" in run["metrics"]


def test_training_shows_a_bar_on_a_terminal(tmp_path):
    output = on_terminal("train", LENET, "train.epochs=2", "track.mlflow=false", "--runs", str(tmp_path))
    assert "80/80" in output
    assert "test/accuracy" in output


def test_a_reader_that_leaves_early_is_no_error():
    result = subprocess.run(  # noqa: S602
        f"{sys.executable} -m dlx layers | head -1",
        shell=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["inspect", LENET, "--batch", "0"], "greater than or equal to 1"),
        (["inspect"], "Missing argument 'SPEC'"),
        (["nope"], "No such command 'nope'"),
        (["train", LENET, "--epochs", "3"], "No such option: --epochs; it is a key of the spec: `train.epochs=...`"),
        (["sweep", LENET, "--batch-size=3"], "--batch-size; it is a key of the spec: `train.batch_size=...`"),
        (["train", LENET, "--lr", "1"], "--lr; it is a field of the optimizer: `train.optimizer.KIND.lr=...`"),
        (["predict", "last", "a.png", "b.png"], "(b.png); FILE is one file, or a folder that has them all"),
        (["inspect", LENET, "--batch", "3", "--layer", "conv_1"], "`--batch` is about the whole network"),
    ],
)
def test_a_command_that_is_called_wrongly_says_so_as_json_too(argv, message):
    result, plain = dlx(*argv, "--json"), dlx(*argv)
    assert (result.returncode, plain.returncode, result.stderr, plain.stdout) == (2, 2, "", "")
    (error,) = json.loads(result.stdout)["errors"]
    assert message in error["message"]
    assert message in plain.stderr


def test_an_output_that_is_closed_is_no_crash():
    ended = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m dlx layers >&-"], cwd=ROOT, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_figures_are_not_cut_off_where_a_terminal_is_narrow():
    output = on_terminal("verify", "specs/udl/mnist1d-dense.toml", columns=40)
    assert "\r\n  book 150,185\r\n  dlx 59,065\r\n  verdict book wrong\r\n" in output
    totals = on_terminal("diff", "specs/cs231n/resnet50.yaml", "specs/cs231n/resnet101.yaml", columns=40)
    assert "25,557,032\r\n" in totals
    assert "+3,712,221,184 (+90.8%)\r\n" in totals


def test_the_memory_of_a_batch_may_be_asked_for_with_another_tool_s_figures():
    output = dlx("inspect", LENET, "--as", "keras", "--batch", "4").stdout
    assert "= keras: Total params" in output
    assert "at the peak of a training step of 4 samples" in output
