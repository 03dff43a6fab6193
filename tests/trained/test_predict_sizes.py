"""`dlx predict` of pictures of another size than those of the training, and of several inputs from memory."""

import numpy as np
import pytest
import torch
from PIL import Image
from test_predict import network_of, said, trained

import dlx
from dlx.data.tables.csv_files import Delimited
from dlx.errors import DlxError
from dlx.experiment import runner
from dlx.trained.predict import predict

POOLED = "[{conv: {out_channels: 4, kernel_size: 3, padding: 1}}, relu, global_avg_pool, {linear: 10}]"
DIGITS = "{digits: {train: 60, test: 20, standardize: channel}}"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("sizes"), DIGITS, POOLED).results[0].run


def refused(run, inputs) -> str:
    with pytest.raises(DlxError) as error:
        predict(run, inputs)
    return str(error.value)


def test_a_network_that_pools_to_one_size_takes_any(run, tmp_path):
    """Digits are 8x8. By torch: the same weights on standardised pictures of 12x10."""
    x = np.random.default_rng(0).random((5, 1, 12, 10), dtype=np.float32)
    np.save(tmp_path / "x.npy", x)
    found = predict(run, tmp_path / "x.npy")
    raw = dlx.load(run.dir / "spec.yaml", ["data.digits.standardize=none"]).data.load().train.x
    network = torch.nn.Sequential(*network_of(run).children())
    layers = [layer for layer in network if not isinstance(layer, torch.nn.Identity)]
    conv, linear = layers[0], layers[-1]
    with torch.inference_mode():
        seen = torch.from_numpy((x - raw.mean()) / raw.std())
        by_hand = linear(conv(seen).relu().mean((2, 3))).softmax(1)
    assert found.probabilities == pytest.approx(by_hand.numpy(), abs=1e-5)
    assert found.probabilities.std(0).max() > 1e-4  # they differ from input to input
    assert predict(run, x).probabilities.tolist() == found.probabilities.tolist()
    assert predict(run, x[0]).probabilities == pytest.approx(found.probabilities[:1])


def test_maps_have_the_size_of_the_pictures(tmp_path):
    data = "{shapes: {targets: positions, size: 16, train: 20, valid: 4, test: null}}"
    layers = "[{conv: {out_channels: 4, kernel_size: 3, padding: 1}}]"
    run = trained(tmp_path, data, layers, objective="objective: segmentation").results[0].run
    channels = dlx.load(run.dir / "spec.yaml").data.load().train.x.shape[1]
    folder = tmp_path / "pictures"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (24, 20, channels), dtype=np.uint8)
    Image.fromarray(pixels.squeeze()).save(folder / "a.png")
    found = predict(run, folder)
    output = said(network_of(run), np.moveaxis(pixels, -1, 0)[None] / np.float32(255))
    assert found.classes.shape == (1, 24, 20)
    assert (found.classes == output.argmax(1).numpy()).all()
    found.write(tmp_path / "maps")
    with Image.open(tmp_path / "maps" / "a.png") as picture:
        assert picture.size == (20, 24)
    Image.fromarray(pixels.squeeze()[:10]).save(folder / "b.png")
    assert "b.png has 10x20 pixels, and the first picture 24x20" in refused(run, folder)


def test_a_layer_with_other_weights_is_named_with_both_shapes(tmp_path):
    run = trained(tmp_path, "{digits: {train: 60}}", "[flatten, {linear: 10}]").results[0].run
    message = refused(run, np.zeros((2, 1, 12, 10), np.float32))
    assert "`weight` of `linear_1` is (10, 64) for inputs of (1, 8, 8), and (10, 120) for (1, 12, 10)" in message
    assert "`adaptive_avg_pool` or `global_avg_pool`" in message


def test_a_layer_that_takes_no_such_size_is_named(tmp_path):
    layers = "[{conv: {out_channels: 2, kernel_size: 5}}, global_avg_pool, {linear: 10}]"
    run = trained(tmp_path, "{digits: {train: 60}}", layers).results[0].run
    message = refused(run, np.zeros((2, 1, 4, 4), np.float32))
    assert "the network was trained on (1, 8, 8), and takes no (1, 4, 4)" in message
    assert "spec.yaml:" in message


def test_statistics_of_each_position_fit_one_size(tmp_path):
    data = "{digits: {train: 60, standardize: feature}}"
    run = trained(tmp_path, data, POOLED).results[0].run
    message = refused(run, np.zeros((2, 1, 12, 10), np.float32))
    assert "the inputs have the shape (1, 12, 10), and `standardize` was fitted to each value of (1, 8, 8)" in message


def test_other_channels_are_refused_as_before(run):
    assert "the network was trained on inputs of shape (1, 8, 8)" in refused(run, np.zeros((2, 3, 8, 8), np.float32))


# --- several inputs from memory -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    rng = np.random.default_rng(0)
    arrays = {"a": rng.normal(size=(40, 3)).astype(np.float32), "b": rng.integers(0, 5, (40, 2))}
    np.savez(folder / "d.npz", **arrays, y=rng.integers(0, 2, 40), who=np.array([f"p{i}" for i in range(40)]))
    data = (f"{{arrays: {{path: {folder}/d.npz, inputs: {{size: a, place: b}}, targets: {{kind: y}}, ids: who, "
            "standardize: feature}}")  # fmt: skip
    layers = ("[{embedding: {num_embeddings: 5, embedding_dim: 2}, from: place}, {flatten: {}, name: flat}, "
              "{concat: {}, from: [size, flat]}, {linear: 2}]")  # fmt: skip
    path = folder / "s.yaml"
    path.write_text(f"name: s\ndata: {data}\nnetwork: {{inputs: {{size: [3], place: {{shape: [2], dtype: int}}}}, "
                    f"layers: {layers}}}\n"
                    "train: {steps: 3, batch_size: 20}\ntrack: {mlflow: false}\n")  # fmt: skip
    return runner.run(dlx.load(path), folder / "runs").results[0].run, folder / "d.npz", arrays


def test_fields_from_memory_are_those_of_the_file(two):
    run, path, arrays = two
    of_file = predict(run, path)
    found = dlx.predict(run.dir, {"size": arrays["a"], "place": torch.from_numpy(arrays["b"])})
    assert found.probabilities.tolist() == of_file.probabilities.tolist()
    assert found.names[:2] == ("0", "1")
    swapped = dlx.predict(run.dir, {"size": arrays["a"], "place": arrays["b"][::-1].copy()})
    assert swapped.probabilities.tolist() != of_file.probabilities.tolist()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"place": None}, "the inputs lack `place`, and the network takes `size`, `place`"),
        ({"sise": "a"}, "the network takes no input `sise`: it takes `size`, `place`\n  Did you mean `size`?"),
        ({"place": np.zeros((7, 2), int)}, "`size` holds 40 examples, and `place` 7"),
        ({"place": np.zeros((40, 2))}, "`place` of <inputs> holds float64, and it was trained on int"),
        (
            {"size": np.zeros((40, 4))},
            "holds an array of shape (40, 4), and the network was trained on inputs of shape (3,)",
        ),
    ],
)
def test_fields_that_do_not_fit_are_refused(two, change, sentence):
    run, _, arrays = two
    given = {"size": arrays["a"], "place": arrays["b"]} | change
    given = {name: arrays["a"] if isinstance(one, str) else one for name, one in given.items() if one is not None}
    with pytest.raises(DlxError) as error:
        dlx.predict(run.dir, given)
    assert sentence in str(error.value)


# --- columns beside the answers -------------------------------------------------------------------------------------


def test_a_table_is_read_once_with_its_ids_and_columns(tmp_path, monkeypatch):
    lines = ["who,a,b,town,kind", *(f"p{i},{i % 5},{i % 3},t{i % 2},{'xy'[i % 2]}" for i in range(40))]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    data = f"{{table: {{path: {tmp_path}/t.csv, target: kind, ids: who, drop: [town]}}}}"
    run = trained(tmp_path, data, "[{linear: 2}]").results[0].run
    read = []
    table = Delimited.table
    monkeypatch.setattr(Delimited, "table", lambda self: read.append(self.path) or table(self))
    found = predict(run, tmp_path / "t.csv", keep=["town"])
    assert read == [tmp_path / "t.csv"]
    assert found.names[:2] == ("p0", "p1")
    assert found.columns["town"][:3] == ["t0", "t1", "t0"]
