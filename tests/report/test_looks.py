"""Filters, feature maps, attention, fields, samples and calibration as pictures, values and a part of a page."""

import json
from base64 import b64decode
from io import BytesIO
from xml.etree.ElementTree import XML

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from made_runs import made_run
from PIL import Image
from safetensors.torch import load_file

from dlx.errors import DlxError
from dlx.experiment import runner
from dlx.report.charts_files import content_of, write
from dlx.report.looks import MOST_FILTERS
from dlx.report.page import PageOptions, page
from dlx.report.plot import Options, plot
from dlx.report.sheet import Row, Sheet, Tile, painted
from dlx.spec import load

SPEC = """
dlx: 1
name: seen
data: {digits: {valid: 0.2, test: 0.2}}
network:
  layers:
    - {conv: {out_channels: 4, kernel_size: 3}}
    - relu
    - {conv: {out_channels: 3, kernel_size: 3, stride: 2}}
    - flatten
    - {linear: 10}
train: {steps: 3, device: cpu}
track: {mlflow: false}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("looks")
    (folder / "a.yaml").write_text(SPEC)
    runner.run(load(folder / "a.yaml"), folder / "runs")
    return folder / "runs"


def images(svg):
    """The pictures in an SVG file, as arrays of colours."""
    found = [one.get("href") for one in XML(svg).iter() if one.tag.endswith("image")]
    return [np.asarray(Image.open(BytesIO(b64decode(one.partition(",")[2]))).convert("RGB")) for one in found]


def test_the_colours_of_filters_are_those_of_their_signs(root):
    found = plot(["seen"], root, Options(kind="filters"))
    (run,) = found.groups[0].runs
    kernels = load_file(run.dir / "checkpoints" / "final.safetensors")["conv_1.weight"].numpy()[:, 0]
    shown = images(content_of(found.figure, "svg"))
    assert len(shown) == 4
    for kernel, picture in zip(kernels, shown, strict=True):
        side = picture.shape[0] // 3
        colours = picture[side // 2 :: side, side // 2 :: side].astype(int)
        redder = colours[..., 0] > colours[..., 2]
        clear = np.abs(kernel) > 0.1 * np.abs(kernels).max()
        assert (redder == (kernel > 0))[clear].all()
    values = [tile["values"] for tile in found.as_json()["rows"][0]["pictures"]]
    np.testing.assert_array_equal(np.array(values, np.float32), kernels)


def test_of_many_filters_the_first_are_shown_and_that_is_said():
    assert MOST_FILTERS == 64
    tiles = tuple(Tile(str(i), np.full((3, 3), float(i))) for i in range(3))
    grey = Sheet("features", "a", (Row("layer", tiles),)).picture().text
    assert [picture[0, 0, 0] for picture in images(grey)] == [0, 128, 255]


def test_colours_by_hand():
    values = np.array([[-2.0, 0.0, 1.0, np.nan]])
    red_blue = painted(values, "diverging", (-2.0, 2.0))[0].tolist()
    assert red_blue == [[33, 102, 172], [255, 255, 255], [216, 140, 149], [128, 128, 128]]
    assert painted(values, "grey", (-2.0, 2.0))[0, :3, 0].tolist() == [0, 128, 191]


def test_feature_maps_and_fields_name_their_layers_and_sizes(root):
    found = plot(["seen"], root, Options(kind="features"))
    assert [row.heading for row in found.figure.rows] == ["test 0", "conv_1", "conv_2"]
    assert [len(row.tiles) for row in found.figure.rows] == [1, 4, 3]
    (one,) = plot(["seen"], root, Options(kind="fields", layer=("conv_2",), example=1)).figure.rows
    (tile,) = one.tiles
    assert tile.caption == "conv_2\n5 x 5"
    # 3 + (3 - 1) = 5 pixels, and two further for its neighbour: one stride of 2
    (left, top, width, height), (right, down, *_) = tile.boxes
    assert (width, height, right - left, down - top) == (5, 5, 2, 2)


def test_fields_that_reach_beyond_a_picture_lie_over_no_other_and_what_is_far_is_cut_off():
    picture = np.zeros((8, 8))
    reaching = ((0.0, 0.0, 10.0, 10.0), (2.0, 2.0, 10.0, 10.0))
    tiles = [Tile(f"{i}", picture, boxes) for i, boxes in enumerate([reaching, ((-99.0, -99.0, 200.0, 200.0),), ()])]
    drawn = XML(Sheet("fields", "Fields", (Row("a", tuple(tiles), "picture", "middle"),)).picture().text)
    frames = [one for one in drawn.iter() if one.tag.endswith("svg") and one is not drawn]
    pictures = [one for one in drawn.iter() if one.tag.endswith("image")]
    sides = [[float(one.get(key)) for key in ("x", "y", "width", "height")] for one in (*frames, *pictures)]
    (first, second, *_), side = sides, sides[2][2]
    # 4 of 8 pixels farther than the first picture reaches, and half of the second one on each side
    assert first[2:] == pytest.approx([1.5 * side + 2] * 2)
    assert second[2:] == pytest.approx([2 * side + 2] * 2)
    starts, ends = zip(*sorted((x, x + wide) for x, _, wide, _ in (first, second, sides[4])), strict=True)
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))
    words = {one.text: float(one.get("y")) for one in drawn.iter() if one.tag.endswith("text")}
    assert words["0"] > first[1] + first[3]


CODER = """
dlx: 1
name: coder
data: {digits: {valid: 0.2, test: 0.2}}
networks:
  encoder: {layers: [{conv: {out_channels: 2, kernel_size: 3, padding: 1}}, relu, flatten, {linear: 4}]}
  decoder: {inputs: {code: [4]}, layers: [{linear: 64}, {reshape: [1, 8, 8]}]}
objective: autoencoder
train: {steps: 3, batch_size: 50, optimizer: {adam: 1e-2}, device: cpu}
track: {mlflow: false}
"""


def test_of_several_networks_the_one_that_takes_the_examples_is_looked_into(tmp_path):
    (tmp_path / "c.yaml").write_text(CODER)
    run = runner.run(load(tmp_path / "c.yaml"), tmp_path / "runs").results[0].run
    example, maps = plot(["coder"], tmp_path / "runs", Options(kind="features", part="valid", example=2)).figure.rows
    assert (example.heading, maps.heading) == ("valid 2", "encoder/conv_1")
    saved = load_file(run.dir / "checkpoints" / "final.safetensors")
    x = load(tmp_path / "c.yaml").data.load().valid.x[2:3]
    weights = (saved[f"encoder.conv_1.{name}"] for name in ("weight", "bias"))
    expected = F.conv2d(torch.from_numpy(np.ascontiguousarray(x)).float(), *weights, padding=1)[0]
    np.testing.assert_allclose(np.stack([tile.values for tile in maps.tiles]), expected.numpy(), atol=1e-5)
    (found,) = plot(["coder"], tmp_path / "runs", Options(kind="filters")).figure.rows
    assert found.heading == "encoder/conv_1"
    np.testing.assert_allclose(found.tiles[1].values, saved["encoder.conv_1.weight"][1, 0].numpy())


def test_calibration_is_drawn_and_written_bin_by_bin(root, tmp_path):
    found = plot(["seen"], root, Options(kind="calibration", bins=4))
    document = found.as_json()["diagrams"][0]
    bins = document["bins"]
    assert [one["to"] for one in bins] == [0.25, 0.5, 0.75, 1.0]
    assert sum(one["count"] for one in bins) == 359
    gaps = [one["count"] * abs(one["accuracy"] - one["confidence"]) for one in bins if one["count"]]
    assert document["expected_calibration_error"] == pytest.approx(sum(gaps) / 359)
    svg = content_of(found.figure, "svg").decode()
    assert f"ECE {document['expected_calibration_error']:.3g}" in svg
    write(found.figure, tmp_path / "a.csv", "csv")
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 5


@pytest.mark.parametrize("form", ["svg", "png", "pdf", "csv"])
def test_a_sheet_is_written_in_each_format_of_pictures(root, form):
    content = content_of(plot(["seen"], root, Options(kind="filters")).figure, form)
    assert content[:4] in {b"<svg", b"\x89PNG", b"%PDF", b"runs"}


def test_samples_are_the_last_pictures_of_each_name(root, tmp_path):
    run = made_run(tmp_path, "gan", end={})
    (run.dir / "artifacts" / "samples").mkdir(parents=True)
    for step, shade in ((10, 0), (20, 255)):
        Image.new("L", (4, 4), shade).save(run.dir / "artifacts" / "samples" / f"step-0000{step}-from_z.png")
    (row,) = plot(["gan"], tmp_path, Options(kind="samples")).figure.rows
    assert (row.heading, float(row.tiles[0].values.min())) == ("step-000020-from_z", 1.0)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (Options(kind="attention"), "has no attention\n  Layers with weights of attention are `scaled_dot"),
        (Options(kind="samples"), "has no pictures of samples\n  Train with `train: {samples: 500}`"),
        (Options(kind="features", layer=("conv_3",)), "has no layer `conv_3`\n  Did you mean `conv_2` or `conv_1`?"),
        (Options(kind="features", layer=("linear_1",)), "`linear_1` of seen/"),
        (Options(kind="features", example=400), "has no example 400: it has 359 examples"),
        (Options(kind="fields", part="trian"), "has no part `trian`\n  There is train, valid, test."),
        (Options(kind="filters", example=1), "`--example` is for `--kind features or attention or fields`"),
        (Options(kind="curve", bins=3), "`--bins` is for `--kind calibration`"),
        (Options(("a",), kind="filters"), "`--metric` is for"),
    ],
)
def test_what_a_run_lacks_is_said_with_the_way_to_have_it(root, options, sentence):
    with pytest.raises(DlxError) as caught:
        plot(["seen"], root, options)
    assert sentence in str(caught.value)


def test_a_format_of_lines_is_refused_for_pictures(root):
    figure = plot(["seen"], root, Options(kind="filters")).figure
    with pytest.raises(DlxError, match="`--kind filters` is not written as tikz"):
        content_of(figure, "tikz")


def test_a_page_looks_inside_where_it_is_asked_and_else_says_how(root):
    made = page(["seen"], root, PageOptions(inside=True))
    part = made.html.partition('id="inside"')[2].partition("</section>")[0]
    assert [one.partition("</summary>")[0] for one in part.split("<summary>")[1:]] == [
        "Calibration",
        "First-layer filters",
        "Feature maps",
        "Receptive fields",
    ]
    assert not [note for note in made.notes if "attention" in note]
    spec = json.loads(part.partition('id="calibration-0-spec">')[2].partition("</script>")[0])
    assert sum(spec["usermeta"]["columns"]["share"]) == pytest.approx(1)
    plain = page(["seen"], root, PageOptions()).html
    assert "`dlx report --inside` calls the networks anew" in plain
    assert "Feature maps" not in plain
