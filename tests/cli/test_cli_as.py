"""`dlx inspect --as`: another tool's figures, and the way there from dlx's."""

import json
import subprocess

import pytest
from commands import dlx

RESNET = "specs/cs231n/resnet50.yaml"


def inspect(*argv: str) -> subprocess.CompletedProcess[str]:
    return dlx("inspect", *argv)


def test_the_table_leads_from_dlx_s_figure_to_theirs():
    lines = inspect(RESNET, "--as", "timm").stdout.splitlines()
    assert lines[0] == "resnet50, as timm counts it"
    output = " ".join(" ".join(lines[5:9]).split())
    assert output == (
        "dlx: MACs 4,089,184,256 "
        "+ batch norm: 2 a value, 1 without scale and shift 22,227,968 "
        "+ average pooling to a size: 1 a value that comes in 100,352 "
        "= timm: GMACs 4,111,512,576 4.11 GMACs"
    )
    assert lines[-1] == "Checked against timm 1.0.31 and fvcore 0.1.5, which its benchmark counts with."


@pytest.mark.parametrize(
    ("tool", "figure"),
    [
        ("torchvision", "4.089 GFLOPS"),
        ("keras", "25,636,712 in all."),
        ("timm", "11.11 M"),
        ("darknet", "8.178 BFLOPs"),
        ("torchinfo", "177.83 MB"),
    ],
)
def test_each_tool_s_own_words_are_there(tool, figure):
    result = inspect(RESNET, "--as", tool)
    assert (result.returncode, result.stderr) == (0, "")
    assert figure in result.stdout
    assert "25,557,032" in result.stdout


def test_the_document_gains_a_bridge():
    document = json.loads(inspect("specs/cs231n/densenet121.yaml", "--as", "keras", "--json").stdout)
    assert document["params"] == 7_978_856
    assert {key: document["as"][key] for key in ("tool", "params", "macs")} == {
        "tool": "keras",
        "params": 8_062_504,
        "macs": None,
    }
    (bridge,) = document["as"]["bridge"]
    assert bridge == {
        "of": "params",
        "word": "parameters",
        "ours": 7_978_856,
        "terms": [{"label": "moving mean and variance of batch norm", "count": 83_648}],
        "theirs": 8_062_504,
        "called": "Total params",
        "told": "8,062,504",
    }
    assert list(json.loads(inspect(RESNET, "--json").stdout)).count("as") == 0


def test_one_layer_as_a_tool_counts_it():
    output = inspect(RESNET, "--layer", "batch_norm_1", "--as", "torchinfo").stdout
    assert output.startswith("batch_norm_1, as torchinfo counts it\n")
    assert "+ weights of other layers, once" in output
    document = json.loads(inspect(RESNET, "--layer", "conv_1", "--as", "darknet", "--json").stdout)
    assert document["name"] == "conv_1"
    assert document["as"]["macs"] == 2 * 7 * 7 * 3 * 64 * 112 * 112


def test_an_unknown_tool_is_refused():
    result = inspect(RESNET, "--as", "pytorch")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "  dlx does not know how `pytorch` counts\n"
        "  It knows `torchvision`, `keras`, `timm`, `darknet` and `torchinfo`.\n"
    )
    as_json = inspect(RESNET, "--as", "pytorch", "--json")
    assert as_json.returncode == 2
    assert json.loads(as_json.stdout)["errors"][0]["message"] == "dlx does not know how `pytorch` counts"
