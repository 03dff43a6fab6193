"""`dlx draw`: files in each format, blocks by name, and what is wrong in a sentence."""

import json

import pytest
from commands import dlx

from dlx.errors import DlxError
from dlx.graph import trace_all
from dlx.report.diagram.blocks import walk
from dlx.report.diagram.folding import Folding, opened
from dlx.report.output import LARGEST
from dlx.spec import load

BEGINNINGS = {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF", "mmd": b"flowchart TD"}


@pytest.mark.parametrize("form", BEGINNINGS)
def test_the_suffix_says_the_format(tmp_path, form):
    done = dlx("draw", "digits/lenet", "--output", f"new/lenet.{form}", cwd=tmp_path, check=True)

    assert done.stdout == f"new/lenet.{form}\n"
    assert (tmp_path / "new" / f"lenet.{form}").read_bytes().startswith(BEGINNINGS[form])


def test_the_file_is_called_like_the_spec(tmp_path):
    done = dlx("draw", "digits/lenet", "--json", cwd=tmp_path, check=True)

    document = json.loads(done.stdout)
    assert document["file"] == "lenet-digits.svg"
    assert document["format"] == "svg"
    text = (tmp_path / "lenet-digits.svg").read_text()
    assert f'width="{document["width"]}' in text


def test_overrides_and_inputs_are_drawn(tmp_path):
    dlx(
        *("draw", "digits/lenet", "network.layers.conv_1.kernel_size=3", "--input", "1x16x16", "-o", "x.svg"),
        cwd=tmp_path,
        check=True,
    )

    text = (tmp_path / "x.svg").read_text()
    assert "3\u00d73 conv, 6" in text
    assert "1\u00d716\u00d716" in text


def test_blocks_are_folded_and_unfolded_by_name(tmp_path):
    def count(*options):
        dlx("draw", "cs231n/googlenet", "--output", "g.mmd", *options, cwd=tmp_path, check=True)
        text = (tmp_path / "g.mmd").read_text()
        return text.count("subgraph"), text.count("[[")

    assert count() == (0, 9)
    assert count("--unfold", "inception_3") == (1, 8)
    assert count("--unfold", "all") == (9, 0)
    assert count("--unfold", "all", "--fold", "inception_1") == (8, 1)
    assert count("--depth", "0") == (0, 9)
    assert count("--depth", "1") == (9, 0)


def test_a_block_that_stands_for_equal_ones_has_the_names_of_all(tmp_path):
    options = ("--fold", "all", "--unfold", "bottleneck_3")
    dlx("draw", "cs231n/resnet50", "-o", "r.mmd", *options, cwd=tmp_path, check=True)

    text = (tmp_path / "r.mmd").read_text()
    assert text.count("subgraph") == 1
    assert '["bottleneck_2 \u00d72"]' in text


REFUSED = {
    ("--unfold", "inception_33"): ("there is no block `inception_33`", "Did you mean `inception_3`"),
    ("--unfold", "unit_1"): ("`unit_1` is one box, with nothing to fold or unfold", ""),
    ("--unfold", "inception_1", "--fold", "inception_1"): ("both name `inception_1`", "Leave one of them out."),
    ("--output", "a.jpeg"): ("`a.jpeg` does not say its format", "End it in one of .svg, .png, .pdf, .mmd"),
    ("--output", "a.png", "--format", "pdf"): ("`--format pdf` and the file `a.png` differ", "Leave one of the two"),
    ("--image", "a.png"): ("`--image` is what a receptive field is drawn on", "`--receptive-field`"),
    ("--receptive-field", "conv_9"): ("--receptive-field", "there is no layer `conv_9`"),
    ("--receptive-field", "max_pool_1", "--depth", "1"): (
        "`--receptive-field` draws a layer",
        "Leave one of the two",
    ),
    ("--receptive-field", "max_pool_1", "--image", "taken"): ("taken is no PNG or JPEG file", "saved as PNG first"),
    ("--receptive-field", "max_pool_1", "--image", "gone.png"): ("gone.png cannot be read: no such file", ""),
    ("--style", "paper", "--format", "mmd"): ("Mermaid has boxes and lines alone", "Take svg, png or pdf."),
    ("--output", "taken/a.svg"): ("taken/a.svg cannot be written", "Choose another file with `--output`."),
}


def test_a_block_inside_a_folded_one_cannot_be_open(tmp_path):
    (tmp_path / "s.yaml").write_text(
        "blocks: {inner: {layers: [{linear: 4}, {linear: 5}]}, outer: {layers: [{inner: , name: b}, {linear: 6}]}}\n"
        "network: {inputs: [3], layers: [{outer: , name: a}, {linear: 2}]}\n"
    )
    graphs = trace_all(load(tmp_path / "s.yaml"))
    with pytest.raises(DlxError, match="`--fold a` closes what is around the block of `--unfold a/b`"):
        opened(graphs, Folding(folded=("a",), unfolded=("a/b",)))
    (tree, is_open), *_ = opened(graphs, Folding(folded=("all",), unfolded=("a/b",))).values()
    assert [block.name for block in walk(tree) if is_open(block)] == ["", "a", "a/b"]


def test_the_receptive_field_of_a_block_is_that_of_its_last_layer(tmp_path):
    for name, layer in (
        ("block", "inception_1"),
        ("layer", "inception_1/concat_1"),
        ("other", "inception_2/concat_1"),
    ):
        dlx("draw", "cs231n/googlenet", "--receptive-field", layer, "-o", f"{name}.svg", cwd=tmp_path, check=True)
    block, layer, other = ((tmp_path / f"{name}.svg").read_text() for name in ("block", "layer", "other"))
    assert block == layer != other
    assert "inception_1/concat_1 on " in block


@pytest.mark.parametrize("options", REFUSED, ids=" ".join)
def test_what_cannot_be_drawn_is_a_sentence(tmp_path, options):
    (tmp_path / "taken").write_text("")
    done = dlx("draw", "cs231n/googlenet", *options, cwd=tmp_path)

    assert done.returncode == 2
    assert all(words in done.stderr for words in REFUSED[options]), done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_png_of_a_long_network_has_no_more_pixels_than_programs_open(tmp_path):
    layers = "".join(f"    - linear: {i + 1}\n" for i in range(400))
    (tmp_path / "long.yaml").write_text(f"network:\n  inputs: [3]\n  layers:\n{layers}")
    dlx("draw", "long.yaml", "--output", "long.png", cwd=tmp_path, check=True)

    header = (tmp_path / "long.png").read_bytes()[16:24]
    width, height = int.from_bytes(header[:4]), int.from_bytes(header[4:])
    assert width < height <= LARGEST + 1


def test_vectors_alone_make_no_figure_of_maps(tmp_path):
    done = dlx("draw", "zoo/gan", "--style", "paper", cwd=tmp_path)

    assert done.returncode == 2
    assert "`--style paper` draws maps and signals, and gan makes vectors alone" in done.stderr
    assert "`--style layers` draws any network." in done.stderr


def test_tokens_have_no_receptive_field_to_draw(tmp_path):
    done = dlx("draw", "zoo/gpt2", "--receptive-field", "linear_1", cwd=tmp_path)

    assert done.returncode == 2
    assert "drawn on (channels, height, width), and `tokens` is 1,024" in done.stderr


@pytest.mark.parametrize("option", ["--out", "--output", "-o"])
def test_the_file_has_one_option_of_two_names(option, tmp_path):
    assert dlx("draw", "digits/lenet", option, "net.svg", cwd=tmp_path).returncode == 0
    assert (tmp_path / "net.svg").exists()
