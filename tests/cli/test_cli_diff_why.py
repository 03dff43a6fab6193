"""`dlx diff` and `dlx why` as a user meets them."""

import json

import pytest
from test_cli import LENET, dlx, on_terminal
from test_house import HEAVY, loaded_by

RESNET50, RESNET101 = "specs/cs231n/resnet50.yaml", "specs/cs231n/resnet101.yaml"


def squeezed(text):
    """Rows without the spaces that align them."""
    return [" ".join(line.split()) for line in text.splitlines()]


def test_diff_of_a_spec_with_itself_is_one_sentence():
    result = dlx("diff", LENET, LENET, "train.seed=0")
    assert result.returncode == 0
    assert result.stdout == "The two are the same: 11 layers, 44,426 parameters, and all settings.\n"


def test_diff_folds_blocks_and_what_did_not_change():
    result = dlx("diff", RESNET50, RESNET101)
    assert result.returncode == 0
    rows = squeezed(result.stdout)
    (added,) = [row for row in rows if row.startswith("+")]
    assert "17 times 10 layers 1024x14x14 +18,992,128" in added
    assert sum("layers unchanged" in row for row in rows) == 2
    assert "parameters 25,557,032 44,549,160 +18,992,128 (+74.3%)" in rows
    assert "receptive field 427 971" in rows


def test_diff_takes_overrides_for_the_second_spec():
    result = dlx("diff", LENET, LENET, "network.layers.conv_1.kernel_size=3", "train.batch_size=8")
    rows = squeezed(result.stdout)
    assert "~ conv_1 kernel_size 5 -> 3 6x8x8 -> 6x10x10 -96 -4,200 +864 B 5 -> 3" in rows
    assert "... 4 layers unchanged" in rows
    assert rows[-1] == "train.batch_size: 32 -> 8"


def test_diff_shows_repeated_changes_once():
    rows = squeezed(dlx("diff", RESNET50, "specs/cs231n/wide_resnet50_2.yaml").stdout)
    assert any(row.startswith("~ bottleneck_10 to bottleneck_13 each as in bottleneck_9 +9,179,136") for row in rows)


def test_diff_of_settings_alone_says_that_the_networks_are_the_same():
    rows = dlx("diff", LENET, LENET, "train.optimizer={sgd: {lr: 0.1}}").stdout.splitlines()
    assert "The networks are the same: 11 layers, 44,426 parameters." in rows
    assert rows[-1] == "train.optimizer: {adamw: {lr: 0.003, weight_decay: 0.1}} -> {sgd: {lr: 0.1}}"


def test_diff_on_a_narrow_terminal_keeps_names_and_changes():
    output = on_terminal("diff", RESNET50, RESNET101, columns=60)
    assert "bottleneck_30" in output
    assert "17 times" in output


def test_diff_as_json_has_the_documented_keys():
    document = json.loads(dlx("diff", RESNET50, RESNET101, "--json").stdout)
    assert list(document) == ["a", "b", "layers", "totals", "settings"]
    assert (document["a"], document["b"], document["settings"]) == ("resnet50", "resnet101", [])
    assert document["totals"]["params"] == {"a": 25_557_032, "b": 44_549_160}
    assert sum(layer["params"] for layer in document["layers"] if layer["change"] == "added") == 18_992_128


def test_diff_reports_the_mistakes_of_a_spec_as_ever(tmp_path):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("network:\n  inputs: [1, 8, 8]\n  layers:\n    - cnov: 3\n    - rleu\n")
    result = dlx("diff", LENET, str(wrong))
    assert (result.returncode, result.stdout) == (2, "")
    assert "there is no layer or block `cnov`" in result.stderr
    assert "2 problems" in result.stderr
    missing = dlx("diff", LENET, "nowhere.yaml", "--json")
    assert missing.returncode == 2
    assert [e["message"] for e in json.loads(missing.stdout)["errors"]] == ["there is no such file"]


def test_why_shows_the_file_and_what_was_replaced():
    result = dlx("why", RESNET101, "vars.depths")
    assert result.returncode == 0
    assert squeezed(result.stdout) == [
        "vars.depths = [3, 4, 23, 3]",
        "from specs/cs231n/resnet101.yaml:4:8",
        "replaced [3, 4, 6, 3] from specs/cs231n/resnet50.yaml:4:8",
    ]


def test_why_shows_the_override_and_the_one_before():
    lines = squeezed(dlx("why", LENET, "train.seed", "train.seed=3", "train.seed=4").stdout)
    assert lines[:3] == [
        "train.seed = 4",
        "from override `train.seed=4`",
        "replaced 3 from override `train.seed=3`",
    ]


def test_why_shows_an_expression_of_a_node_in_a_block():
    lines = squeezed(dlx("why", RESNET101, "network.layers.bottleneck_9/conv_2.out_channels").stdout)
    assert lines[:4] == [
        "network.layers.bottleneck_9/conv_2.out_channels = 256",
        "from specs/cs231n/resnet50.yaml:14:22",
        "written ${widen * width}",
        "where vars.widen = 1, from specs/cs231n/resnet50.yaml:4:30",
    ]


def test_why_lists_a_section():
    lines = squeezed(dlx("why", LENET, "train.optimizer").stdout)
    assert lines[0] == "train.optimizer = adamw"
    assert "adamw.lr 0.003 specs/digits/lenet.yaml:23:23" in lines
    assert "adamw.eps 1e-08 the default of `adamw`" in lines
    lines = squeezed(dlx("why", LENET, "train").stdout)
    assert lines[0] == f"train holds {len(lines) - 2} values"


def test_why_refuses_a_key_that_is_none():
    result = dlx("why", LENET, "train.sed")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"{LENET}  train.sed\n  `train` has no `sed`\n  Did you mean `seed` or `seeds`?\n"
    (error,) = json.loads(dlx("why", LENET, "train.sed", "--json").stdout)["errors"]
    assert (error["path"], error["message"]) == ("train.sed", "`train` has no `sed`")


def test_why_as_json_has_the_documented_keys():
    document = json.loads(dlx("why", RESNET101, "vars.depths", "--json").stdout)
    assert (document["key"], document["value"]) == ("vars.depths", [3, 4, 23, 3])
    assert document["from"] == {"file": RESNET101, "line": 4, "column": 8}
    assert [old["value"] for old in document["replaced"]] == [[3, 4, 6, 3]]


def test_why_of_a_broken_spec_reports_its_mistakes(tmp_path):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("network:\n  inputs: [1, 8, 8]\n  layers:\n    - cnov: 3\n    - rleu\n")
    result = dlx("why", str(wrong), "network.inputs")
    assert result.returncode == 2
    assert "2 problems" in result.stderr


@pytest.mark.parametrize("argv", [["diff", RESNET50, RESNET101], ["why", RESNET101, "vars.depths"]])
def test_neither_loads_a_heavy_guest(argv):
    code = (
        "import sys; from dlx.cli import app\n"
        f"sys.argv = ['dlx', *{argv!r}]\n"
        "try: app()\nexcept SystemExit as end: assert not end.code, end.code"
    )
    assert not loaded_by(code) & set(HEAVY)
