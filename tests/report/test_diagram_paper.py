"""Volumes of maps by size and channels, and receptive fields on an input."""

import io
import re
from base64 import b64decode, b64encode
from math import sqrt
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from helpers import SHIPPED, network_of

from dlx.graph import Graphs, trace_all
from dlx.report import output
from dlx.report.diagram import field_picture, paper
from dlx.report.diagram.folding import Folding
from dlx.report.diagram.receptive_field import centre
from dlx.spec import load

SVG = "{http://www.w3.org/2000/svg}"


def parsed(picture):
    return ElementTree.fromstring(picture.text)  # noqa: S314 - it is our own


def fronts(graphs):
    """Thickness and height of the front of each volume, with what its tooltip says."""
    found = {}
    for group in parsed(paper.picture(graphs, Folding())).iter(f"{SVG}g"):
        title, rect = group.find(f"{SVG}title"), group.find(f"{SVG}rect")
        if title is not None:
            found[title.text] = (float(rect.get("width")), float(rect.get("height")))
    return found


def test_sides_go_by_the_root_of_positions_and_thickness_by_that_of_channels():
    graph = network_of(
        "{image: [3, 64, 64]}",
        "- conv: {out_channels: 16, kernel_size: 3, padding: 1}\n- max_pool: 4\n"
        "- conv: {out_channels: 64, kernel_size: 3, padding: 1}\n",
    )
    found = fronts(Graphs.of(graph))

    large, small = found["3\u00d73 conv, 16: 16\u00d764\u00d764"], found["3\u00d73 conv, 64: 64\u00d716\u00d716"]
    assert abs(large[1] / small[1] - sqrt(64 / 16)) < 0.01
    assert abs(small[0] / large[0] - sqrt(64 / 16)) < 0.01
    assert abs(found["4\u00d74 max pool, /4: 16\u00d716\u00d716"][1] - small[1]) < 0.01


def test_vgg_has_a_group_for_each_size_and_a_bar_for_each_vector():
    """Simonyan & Zisserman 2015, table 1, column D: 224 to 7 by five pools, then 4096, 4096 and 1000 features."""
    root = parsed(paper.picture(trace_all(load(SHIPPED["cs231n/vgg16"])), Folding(unfolded=("all",))))
    words = [text.text for text in root.iter(f"{SVG}text")]

    sizes = [word for word in words if re.fullmatch(r"\d+\u00d7\d+", word)]
    assert sizes == ["224\u00d7224", "112\u00d7112", "56\u00d756", "28\u00d728", "14\u00d714", "7\u00d77"]
    assert words[words.index("7\u00d77") + 1 :][:2] == ["\u00d72", "4,096"]
    assert [word for word in words if word in ("\u00d72", "\u00d73")] == ["\u00d72"] * 2 + ["\u00d73"] * 3 + [
        "\u00d72"
    ]


def test_a_unet_has_a_line_for_each_map_that_is_taken_again():
    root = parsed(paper.picture(trace_all(load(SHIPPED["udl/unet-padded"])), Folding(unfolded=("all",))))
    lines = [path for path in root.iter(f"{SVG}path") if path.get("class") == "e"]

    assert len([line for line in lines if "Q" in line.get("d")]) == 4
    assert len(lines) == 4 + 12


def test_the_window_is_that_of_the_middle_of_a_layer():
    """A 3x3 convolution of stride 2 without padding on 9x9: 4x4 positions, whose second begins at 2."""
    graph = network_of("{image: [1, 9, 9]}", "- conv: {out_channels: 2, kernel_size: 3, stride: 2}\n")

    assert centre(graph.nodes[0], graph) == (9, 9, 4, 4, 3, 3)


def test_the_window_agrees_with_what_the_value_in_the_middle_depends_on():
    """The gradient of one value of the network itself, where it is not 0."""
    import torch

    from dlx.network import build

    graph = network_of(
        "{image: [1, 24, 24]}",
        "- conv: {out_channels: 2, kernel_size: 3, padding: 1}\n- avg_pool: 2\n"
        "- conv: {out_channels: 2, kernel_size: 5, padding: 2}\n- avg_pool: 2\n",
    )
    *_, top, _, height, width = centre(graph.nodes[-1], graph)
    torch.manual_seed(0)
    network = build(graph).double()
    x = torch.rand(1, 1, 24, 24, dtype=torch.float64, requires_grad=True)
    y = network(x)
    seen = []
    for i in range(y.shape[-2]):
        (gradient,) = torch.autograd.grad(y[0, :, i, i].sum(), x, retain_graph=True)
        rows = gradient[0, 0].abs().sum(1).nonzero().flatten()
        seen.append((int(rows.min()), int(rows.max())))

    assert (height, width) == (14, 14)
    assert seen.count((top, top + height - 1)) == 1


def test_a_picture_lies_below_the_field_as_it_is(tmp_path):
    content = b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    )
    (tmp_path / "one.png").write_bytes(content)
    graphs = trace_all(load(SHIPPED["digits/lenet"]))
    image = next(parsed(field_picture.picture(graphs, "conv_1", tmp_path / "one.png")).iter(f"{SVG}image"))

    assert image.get("href") == f"data:image/png;base64,{b64encode(content).decode()}"
    assert image.get("width") == image.get("height") == "480"
    assert list(parsed(field_picture.picture(graphs, "conv_1")).iter(f"{SVG}image")) == []


def test_the_field_and_that_of_the_neighbour_lie_a_stride_apart():
    graphs = trace_all(load(SHIPPED["cs231n/resnet50"]))
    rects = {rect.get("class"): rect for rect in parsed(field_picture.picture(graphs, "conv_1")).iter(f"{SVG}rect")}

    scale = 480 / 224
    assert abs(float(rects["m"].get("width")) - 7 * scale) < 0.06
    assert abs(float(rects["n"].get("x")) - float(rects["m"].get("x")) - 2 * scale) < 0.11


def pixels(content, size=None):
    from PIL import Image

    image = Image.open(io.BytesIO(content)).convert("L")
    return np.asarray(image.resize(size or image.size), dtype=float) / 255


@pytest.mark.parametrize(("name", "other"), [("digits/lenet", "zoo/gpt2"), ("zoo/gpt2", "digits/lenet")])
def test_the_figure_looks_as_it_was_seen_and_approved(name, other):
    """Mean difference of brightness, at a fourth of the size: fonts of machines differ by a pixel or two."""
    approved = pixels((Path(__file__).parents[1] / "golden" / f"paper-{Path(name).name}.png").read_bytes())

    def now(of):
        graphs = trace_all(load(SHIPPED[of]))
        return pixels(output.rendered(paper.picture(graphs, Folding()), "png"), approved.shape[::-1])

    assert abs(now(name) - approved).mean() < 0.02
    assert abs(now(other) - approved).mean() > 0.04


def test_a_repeated_block_of_a_transformer_has_its_attention_and_its_linear_layers():
    labels = list(fronts(trace_all(load(SHIPPED["zoo/gpt2"]))))
    block = [label for label in labels if "multihead attention" in label or "linear 3,072" in label]
    assert len(block) == 2
    text = paper.picture(trace_all(load(SHIPPED["zoo/gpt2"])), Folding()).text
    assert text.count("\u00d712") == 1
    # blocks of convolutions alone are one volume still
    resnet = list(fronts(trace_all(load(SHIPPED["cs231n/resnet18"]))))
    assert not [label for label in resnet if ": 3\u00d73 conv" in label]
