"""`dlx explain` as a student reads it."""

import json
import re
import subprocess
import sys
from fractions import Fraction
from functools import lru_cache

import pytest
from helpers import SHIPPED
from test_cli import ROOT, dlx, on_terminal

from dlx.graph import trace
from dlx.graph.explain import explain
from dlx.layers.arithmetic import Line, evaluated
from dlx.show.explain import explanation, rows_of
from dlx.spec import load

RESNET = "specs/cs231n/resnet50.yaml"
LENET = "specs/digits/lenet.yaml"


@lru_cache
def graph_of(path):
    return trace(load(path))


def explained(*argv):
    ran = dlx("explain", *argv)
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


def test_a_convolution_is_explained_line_by_line():
    assert explained(RESNET, "--layer", "conv_1").splitlines() == [
        "conv_1  conv",
        "Slide `out_channels` learned filters over a signal, an image or a volume.",
        'Source: Dumoulin & Visin 2016, arXiv:1603.07285, section 2.4; for "causal" arXiv:1609.03499, section 2.1.',
        f"Written at {RESNET}:{line_of('conv: {out_channels: 64, kernel_size: 7')}:7",
        "What comes in: (3, 224, 224) from `image`",
        "",
        "Output: (64, 112, 112)",
        "  channels          out_channels = 64",
        "  height and width  (size + before + after - kernel) / stride + 1, rounded down",
        "                    (224 + 3 + 3 - 7) / 2 + 1 = 112.5, rounded down: 112",
        "",
        "Parameters: 9,408",
        "  weight  kernel * kernel * channels * out_channels",
        "          7 * 7 * 3 * 64 = 9,408",
        "",
        "Multiply-adds (MACs) of one sample, forward: 118,013,952",
        "  weights * positions",
        "  9,408 weights * 112 * 112 positions = 118,013,952",
        "  One MAC per weight and output position; adding the bias is not counted.",
        "",
        "Memory of the output, one sample: 3,211,264 bytes (3.21 MB)",
        "  values * bytes of a float",
        "  64 * 112 * 112 values * 4 bytes = 3,211,264",
        "",
        "Receptive field: 7, jump 2, start -3",
        "  So far, `image`: size 1, jump 1, start 0.",
        "  size   size + (kernel - 1) * dilation * jump",
        "         1 + (7 - 1) * 1 * 1 = 7",
        "  jump   jump * stride",
        "         1 * 2 = 2",
        "  start  start - before * jump",
        "         0 - 3 * 1 = -3",
        "  The jump, which `inspect` calls stride: input positions from one place of the output to the next.",
    ]


def line_of(text):
    """The line of ResNet-50 that holds a text."""
    return next(n for n, row in enumerate((ROOT / RESNET).read_text().splitlines(), start=1) if text in row)


@pytest.mark.parametrize(
    ("spec", "layer", "sentence"),
    [
        (RESNET, "max_pool_1", "7 + (3 - 1) * 1 * 2 = 11"),
        (RESNET, "batch_norm_1", "  weight  64, the scale"),
        (RESNET, "batch_norm_1", "  64 + 64 + 1 = 129"),
        (RESNET, "relu_1", "  No MACs, as torch's counter has it."),
        (RESNET, "bottleneck_1/add_1", "  All inputs have this shape, and so has what goes out."),
        (RESNET, "linear_1", "  2,048 values * 1,000 sums = 2,048,000"),
        (LENET, "flatten_1", "            16 * 4 * 4 = 256"),
        (LENET, "flatten_1", "Memory of the output, one sample: none"),
        ("specs/cs231n/squeezenet1_0.yaml", "max_pool_1", "(size - kernel) / stride + 1, rounded up"),
        ("specs/cs231n/densenet121.yaml", "dense_3/concat_1", "                    128 + 32 = 160"),
        ("specs/cs231n/resnext50_32x4d.yaml", "bottleneck_1/conv_2", "          3 * 3 * 128 / 32 * 128 = 4,608"),
    ],
)
def test_a_layer_is_reported_with_its_own_numbers(spec, layer, sentence, capsys):
    explanation(explain(graph_of(ROOT / spec), layer))

    assert sentence in capsys.readouterr().out


def test_a_block_is_reported_as_the_sum_of_its_layers():
    page = explained(RESNET, "--layer", "bottleneck_2")

    assert page.startswith("bottleneck_2  10 layers\n")
    assert "  bottleneck_2/conv_2        36,864 (52.4%)\n" in page
    assert "36,864 + 16,384 + 16,384 + 512 + 128 + 128 of the others = 70,400" in page
    assert "1 + 6 * 1 + 2 * 2 + 4 * 4 = 27" in page


def test_without_a_layer_the_totals_are_reported_and_the_names():
    page = explained(RESNET)

    assert page.startswith("resnet50  174 layers\n")
    assert "2,097,152 + 2,049,000 + 14,332,992 of the others =\n" in page
    assert "1 + 6 * 1 + 2 * 2 + 8 * 4 + 8 * 8 + 12 * 16 + 4 * 32 = 427" in page
    assert "conv_1, batch_norm_1, relu_1, max_pool_1, bottleneck_1 (12 layers)" in page
    assert page.endswith("One of them line by line: add `--layer bottleneck_1`.\n")


def test_another_input_and_overrides_change_the_numbers():
    page = explained(RESNET, "--layer", "conv_1", "--input", "3x512x512", "network.layers.conv_1.kernel_size=5")

    assert "(512 + 3 + 3 - 5) / 2 + 1 = 257.5, rounded down: 257" in page


def test_a_machine_can_check_every_figure():
    page = json.loads(explained(LENET, "--layer", "conv_2", "--json"))
    inspected = json.loads(dlx("inspect", LENET, "--layer", "conv_2", "--json").stdout)

    assert page["layer"] == "conv_2"
    assert {key: page[key] for key in ("shape", "params", "macs", "receptive_field")} == {
        key: inspected[key] for key in ("shape", "params", "macs", "receptive_field")
    }
    for each in page["lines"]:
        assert {"what", "formula", "numbers", "value"} <= each.keys()
        assert not each["numbers"] or evaluated(each["numbers"]) == each["value"]


def test_an_unknown_layer_is_refused():
    ran = dlx("explain", LENET, "--layer", "conv_9")

    assert ran.returncode == 2
    assert "there is no layer or block `conv_9`\n  Did you mean `conv_2` or `conv_1`?" in ran.stderr


def test_a_narrow_terminal_wraps_between_words():
    text = re.sub(r"\x1b\[[0-9;]*m", "", on_terminal("explain", RESNET, "--layer", "conv_1", columns=40))
    rows = [row.rstrip() for row in text.splitlines()]

    assert max(map(len, rows)) <= 40
    assert "  weight" in "\n".join(rows)
    assert "          7 * 7 * 3 * 64 = 9,408" in rows
    wrapped = rows.index("  height and width")
    assert rows[wrapped + 1 : wrapped + 3] == [
        "    (size + before + after - kernel) /",
        "        stride + 1, rounded down",
    ]


def test_explain_loads_no_torch(tmp_path):
    code = (
        "import sys; from dlx.cli import app\n"
        f"sys.argv = ['dlx', 'explain', {str(ROOT / RESNET)!r}, '--layer', 'conv_1']\n"
        "try: app()\nexcept SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'numpy', 'mlflow', 'hydra'} & set(sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")


def read(text: str) -> Fraction:
    """`112.5`, `74 2/3` and `7 * 7 * 3` as a reader takes them."""
    if mixed := re.fullmatch(r"([\d,]+) (\d+/\d+)", text):
        return Fraction(mixed[1].replace(",", "")) + Fraction(mixed[2])
    if re.fullmatch(r"[\d,]+\.\d+", text):
        return Fraction(text.replace(",", ""))
    return evaluated(Line(numbers=text).expression)


def equations(line: Line) -> list[tuple[str, str]]:
    """Both sides of what is printed of a line."""
    rows = [row.split(", rounded")[0] for row in rows_of(line) if line.numbers and row[:1] in "0123456789(-mcf"]
    return [tuple(row.split(" = ")) for row in rows if row.count(" = ") == 1]


@pytest.mark.parametrize("name", ["cs231n/resnet50", "cs231n/squeezenet1_0", "cs231n/googlenet", "digits/lenet"])
def test_every_printed_equation_is_true(name):
    graph = graph_of(SHIPPED[name])
    seen = 0
    for node in graph.nodes:
        for part in explain(graph, node.name).derivations:
            for line in part.lines:
                for left, right in equations(line) if line.value is not None else []:
                    if left.isidentifier():
                        continue
                    assert read(left) == read(right), (node.name, left, right)
                    seen += 1
    assert seen > 2 * len(graph.nodes)


@pytest.mark.parametrize(
    ("line", "rows"),
    [
        (
            Line("", "floor(a / b)", "floor(224 / 3)", 74),
            ["a / b, rounded down", "224 / 3 = 74 2/3, rounded down: 74"],
        ),
        (Line("", "ceil(a / b)", "ceil(7 / 2)", 4), ["a / b, rounded up", "7 / 2 = 3.5, rounded up: 4"]),
        (Line("", "ceil(a / b) - 1", "ceil(7 / 2) - 1", 3), ["ceil(a / b) - 1", "ceil(7 / 2) - 1 = 3"]),
        (Line("", "floor(a / b)", "floor(8 / 2)", 4), ["a / b, rounded down", "8 / 2 = 4"]),
        (Line("", "width", "64", 64), ["width = 64"]),
        (Line("", "", "64", 64, "as it comes in"), ["64, as it comes in"]),
        (Line("", "", "64", 64, "A sentence."), ["64", "A sentence."]),
        (Line("", "", "64", 64, "(50.0%)"), ["64 (50.0%)"]),
    ],
)
def test_a_line_reads_as_in_a_textbook(line, rows):
    assert rows_of(line) == rows
