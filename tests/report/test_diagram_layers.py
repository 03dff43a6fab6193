"""The layered diagram: where boxes and lines lie, texts of a spec, the same file each time."""

import io
import re
import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest
from helpers import ROOT, SHIPPED, experiment_of

from dlx.graph import trace_all
from dlx.report import output
from dlx.report.diagram import layers, mermaid
from dlx.report.diagram.blocks import taken
from dlx.report.diagram.folding import Folding, opened
from dlx.report.diagram.layout import Layouts
from dlx.spec import load

GOLDEN = ROOT / "tests" / "golden"
OPEN = Folding(unfolded=("all",))
SPECS = ["digits/lenet", "cs231n/googlenet", "cs231n/resnet50", "zoo/gpt2", "udl/unet-padded", "zoo/transformer-base"]
TEXT = "{http://www.w3.org/2000/svg}text"


def graphs_of(name):
    return trace_all(load(SHIPPED[name]))


def frames_of(graphs, folding):
    for name, (tree, is_open) in opened(graphs, folding).items():
        frames = [Layouts(graphs[name], is_open).whole(tree)]
        for frame in frames:
            frames += [box.inside for box in frame.boxes if box.inside]
            yield frame


def parsed(picture):
    return ElementTree.fromstring(picture.text)  # noqa: S314 - it is our own


def overlap(a, b):
    across = min(a.left + a.width, b.left + b.width) - max(a.left, b.left)
    down = min(a.top + a.height, b.top + b.height) - max(a.top, b.top)
    return min(across, down)


@pytest.mark.parametrize("name", [*SPECS, "zoo/gan", "cs231n/densenet121", "zoo/translation"])
@pytest.mark.parametrize("folding", [Folding(), OPEN], ids=["itself", "open"])
def test_no_box_lies_on_another_or_outside_its_frame(name, folding):
    for frame in frames_of(graphs_of(name), folding):
        assert all(overlap(a, b) < 0.5 for a, b in combinations(frame.boxes, 2))
        for box in frame.boxes:
            assert box.left >= -0.5
            assert box.left + box.width <= frame.width + 0.5
            assert box.top + box.height <= frame.height + 0.5


@pytest.mark.parametrize("name", SPECS)
def test_a_line_ends_at_the_box_that_takes_the_value(name):
    for frame in frames_of(graphs_of(name), OPEN):
        for edge in frame.edges:
            box, (x, y) = frame.boxes[edge.target], edge.points[-1]
            if edge.arrow:
                assert box.left - 1 <= x <= box.left + box.width + 1
                assert abs(y - box.top) < 1.5
            elif box.inside:
                into = [x for port, x in box.inside.ports.items() if port[0] == "in"]
                assert min(abs(box.left + one - x) for one in into) < 1.5


@pytest.mark.parametrize("name", ["cs231n/googlenet", "udl/unet-padded", "digits/lenet", "udl/residual-4"])
def test_each_value_that_another_box_takes_has_a_line(name):
    """Counted from the layers alone: pairs of boxes of which the second takes a value of the first."""
    graphs = graphs_of(name)
    tree, is_open = opened(graphs, OPEN)["network"]
    box_of = {name: name for name in graphs.one.inputs}

    def number(item):
        for inner in getattr(item, "items", ()):
            number(inner)
        if not hasattr(item, "items"):
            box_of.update({node.name: item.name for node in item.nodes})

    number(tree)
    pairs = {
        (box_of[name], box_of[node.name])
        for node in graphs.one.nodes
        for name in taken(node)
        if box_of[name] != box_of[node.name]
    }
    text = mermaid.text(graphs, OPEN)

    assert text.count(" --> ") == len(pairs) + len(graphs.one.outputs)
    assert is_open(tree)


def test_the_picture_says_what_each_layer_is_and_makes():
    root = parsed(layers.picture(graphs_of("digits/lenet"), Folding()))
    words = [each.text for each in root.iter(TEXT)]

    assert words[:4] == ["lenet-digits", "44.4 k parameters, 205 k MACs a sample", "input", "1\u00d78\u00d78"]
    assert words[4:9] == ["5\u00d75 conv, 6", "6\u00d78\u00d78", "relu", "5\u00d75 conv, 16", "16\u00d78\u00d78"]
    assert words[-2:] == ["output", "10"]
    assert all(float(each.get("textLength")) > 0 for each in root.iter(TEXT)), "a wider font would run over the shape"


def test_several_networks_stand_side_by_side_under_their_names():
    root = parsed(layers.picture(graphs_of("zoo/gan"), Folding()))
    titles = {each.text: float(each.get("x")) for each in root.iter(TEXT) if each.get("class") == "h"}

    assert list(titles) == ["generator", "discriminator"]
    assert titles["discriminator"] > titles["generator"] + 200


MARKUP = '<script>alert(1)</script> & "quotes"'


def test_texts_of_a_spec_are_texts_of_the_picture_and_no_markup():
    graphs = trace_all(experiment_of("network: {inputs: [2], layers: [{linear: 1}]}\n"))
    root = parsed(layers.picture(replace(graphs, name=MARKUP), Folding()))

    assert next(root.iter(TEXT)).text == MARKUP
    assert [each.tag for each in root.iter() if each.tag.endswith("script")] == []
    assert "<script" not in mermaid.text(replace(graphs, networks={MARKUP: graphs.one}), Folding())


def test_the_picture_is_the_same_file_whatever_the_hash_seed():
    code = (
        "import sys; from pathlib import Path; from dlx import spec, graph; from dlx.report.diagram import layers\n"
        "from dlx.report.diagram.folding import Folding\n"
        "graphs = graph.trace_all(spec.load(Path(sys.argv[1])))\n"
        "print(layers.picture(graphs, Folding(unfolded=('all',))).text)\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)\n"
    )
    files = {
        subprocess.run(
            [sys.executable, "-c", code, str(SHIPPED["cs231n/googlenet"])],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "PATH": ""},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }

    assert len(files) == 1


def pixels(content, size=None):
    import numpy as np
    from PIL import Image

    image = Image.open(io.BytesIO(content)).convert("L")
    return np.asarray(image.resize(size or image.size), dtype=float) / 255


@pytest.mark.parametrize("name", ["digits/lenet", "zoo/gpt2", "zoo/gan"])
def test_the_picture_looks_as_it_was_seen_and_approved(name):
    """Mean difference of brightness, at a fourth of the size: fonts of machines differ by a pixel or two."""
    golden = (GOLDEN / f"diagram-{Path(name).name}.png").read_bytes()
    approved = pixels(golden)
    size = approved.shape[::-1]
    now = pixels(output.rendered(layers.picture(graphs_of(name), Folding()), "png"), size)
    folded = pixels(output.rendered(layers.picture(graphs_of("zoo/transformer-base"), Folding()), "png"), size)

    assert abs(now - approved).mean() < 0.02
    assert abs(folded - approved).mean() > 0.035


def test_a_layer_with_the_weights_of_another_is_told_with_its_name():
    graphs = trace_all(
        experiment_of(
            "networks:\n"
            "  encoder: {inputs: [6], layers: [{linear: 4, name: middle}, tanh, {linear: 6}]}\n"
            "  decoder: {inputs: {z: [6]}, layers: [{share: encoder/middle}, tanh, {linear: 6}]}\n"
        )
    )
    texts = [one.text for one in parsed(layers.picture(graphs, OPEN)).iter(TEXT)]
    assert texts.count("linear 4, weights of encoder/middle") == 1
    assert texts.count("linear 4") == 1
    assert "weights of encoder/middle" in mermaid.text(graphs, OPEN)


def test_a_layer_with_the_tied_weight_of_another_is_told_with_its_name():
    """Twin: without `tie` the last layer is one by itself."""
    text = (
        "network:\n  inputs: {tokens: {shape: [3], dtype: int}}\n  layers:\n"
        "    - {embedding: {num_embeddings: 7, embedding_dim: 4}, name: words}\n"
        "    - {linear: {out_features: 7, bias: false}, tie: words}\n"
    )
    for spec, tied in ((text, 1), (text.replace(", tie: words", ""), 0)):
        texts = [one.text for one in parsed(layers.picture(trace_all(experiment_of(spec)), OPEN)).iter(TEXT)]
        assert texts.count("linear 7, weight of words") == tied
        assert texts.count("linear 7") == 1 - tied


def test_no_arrow_ends_behind_the_cards_of_a_repeated_block():
    """The cards of a stack lie below and beside the first: above it they hid the head of the arrow."""
    picture = layers.picture(graphs_of("cs231n/resnet152"), Folding()).text
    cards = re.findall(r'<rect x="([\d.]+)" y="(-?[\d.]+)"[^>]* class="f"', picture)
    assert len(cards) > 8
    assert all(float(y) >= 0 for _, y in cards)
    assert "10 layers each, 39.1 M parameters together" in picture
