"""What layers make of an example, and where attention looks: against torch's own modules with the trained weights."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from dlx.errors import DlxError
from dlx.experiment import runner
from dlx.spec import load
from dlx.trained.calibration import binned, calibration
from dlx.trained.filters import first_filters
from dlx.trained.inside import inside
from dlx.training.checkpoints.checkpoint import restore_all

TRAIN = "train: {steps: 20, batch_size: 32, device: cpu, optimizer: {adam: 1e-2}}\ntrack: {mlflow: false}\n"
PICTURES = f"""
dlx: 1
data: {{digits: {{valid: 0.2, test: 0.2}}}}
network:
  layers: [{{conv: {{out_channels: 4, kernel_size: 3, padding: 1}}}}, relu, {{max_pool: 2}}, flatten, {{linear: 10}}]
objective: {{classification: {{metrics: [calibration_error]}}}}
{TRAIN}"""
TEXT = f"""
dlx: 1
data: {{text: {{path: text.txt, window: 6, test: 0.2}}}}
network:
  layers:
    - embedding: {{embedding_dim: 8}}
    - {{multihead_attention: {{num_heads: 2, is_causal: true}}, name: causal}}
    - {{relative_attention: {{num_heads: 2, max_distance: 3, is_causal: true}}, name: relative}}
    - linear: "${{data.vocabulary}}"
objective: language
{TRAIN}"""
ROWS = f"""
dlx: 1
data: {{arrays: {{path: x.npz, test: 0.5}}}}
network: {{layers: [{{multihead_attention: {{num_heads: 2}}, name: both_ways}}, flatten, {{linear: 2}}]}}
objective: classification
{TRAIN}"""


def trained(folder, text):
    (folder / "text.txt").write_text("to be or not to be that is the question " * 8)
    rows = np.random.default_rng(0).normal(size=(40, 6, 8)).astype(np.float32)
    y = np.linspace(0, 1, 40) if "regression" in text else np.arange(40) % 2
    np.savez(folder / "x.npz", x=rows, y=y)
    (folder / "a.yaml").write_text(text)
    return runner.run(load(folder / "a.yaml"), folder / "runs").results[0].run


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("pictures"), PICTURES)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("text"), TEXT)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("rows"), ROWS)


def weights_of(run):
    return load_file(run.dir / "checkpoints" / "final.safetensors")


def test_feature_maps_are_those_of_torch_s_convolution(pictures):
    seen, own = inside(pictures, 3), weights_of(pictures)
    x = torch.from_numpy(np.asarray(load(pictures.dir / "spec.yaml").data.load().test.x[3:4]))
    conv = F.conv2d(x, own["conv_1.weight"], own["conv_1.bias"], padding=1)[0]
    np.testing.assert_allclose(seen.values["conv_1"], conv.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(seen.values["max_pool_1"], F.max_pool2d(conv.relu(), 2).numpy(), rtol=1e-5, atol=1e-6)
    other = inside(pictures, 4)
    assert not np.allclose(other.values["conv_1"], conv.numpy(), atol=1e-2)  # of another example they differ
    assert (seen.example.place, seen.example.picture.shape) == ("test 3", (8, 8, 1))


def test_first_filters_are_the_kernels_and_of_a_linear_layer_its_rows_as_pictures(pictures, tmp_path):
    (found,) = first_filters(pictures)
    assert found.layer == "conv_1"
    np.testing.assert_array_equal(found.values, weights_of(pictures)["conv_1.weight"].numpy())

    layers = "[flatten, {linear: 3, name: hidden}, relu, {linear: 10}]"
    before, _, after = PICTURES.partition("  layers: ")
    dense = trained(tmp_path, f"{before}  layers: {layers}\n{after.partition(chr(10))[2]}")
    (rows,) = first_filters(dense)
    assert rows.layer == "hidden"
    np.testing.assert_array_equal(rows.values, weights_of(dense)["hidden.weight"].numpy().reshape(3, 1, 8, 8))


@pytest.mark.parametrize("name", ["causal", "both_ways"])
def test_weights_of_attention_are_those_of_torch_s_module_and_their_rows_add_up_to_1(text, rows, name):
    run = text if name == "causal" else rows
    seen, own = inside(run, 1), weights_of(run)
    weights = seen.attention[name]
    assert weights.shape == (2, 6, 6)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)

    module = torch.nn.MultiheadAttention(8, 2, batch_first=True).eval()
    module.load_state_dict({key.removeprefix(f"{name}."): one for key, one in own.items() if key.startswith(name)})
    if name == "causal":
        x = torch.from_numpy(seen.values["embedding_1"])[None]
    else:
        x = torch.from_numpy(np.asarray(load(rows.dir / "spec.yaml").data.load().test.x[1:2]))
    mask = torch.ones(6, 6, dtype=torch.bool).triu(1) if name == "causal" else None
    with torch.no_grad():
        _, expected = module(x, x, x, attn_mask=mask, average_attn_weights=False)
    np.testing.assert_allclose(weights, expected[0].numpy(), atol=1e-6)
    assert np.allclose(np.triu(weights, 1), 0) == (name == "causal")
    shuffled = torch.flip(x, (1,))
    with torch.no_grad():
        _, other = module(shuffled, shuffled, shuffled, attn_mask=mask, average_attn_weights=False)
    assert not np.allclose(weights, other[0].numpy(), atol=1e-3)


@pytest.mark.parametrize("is_causal", [True, False])
def test_weights_of_attention_with_a_window_are_those_of_all_keys_with_a_mask(tmp_path, is_causal):
    options = f"num_heads: 2, window: 2, is_causal: {str(is_causal).lower()}"
    run = trained(tmp_path, ROWS.replace("num_heads: 2", options))
    seen = inside(run, 3, "test")
    weights, outputs = seen.attention["both_ways"], seen.values["both_ways"]

    before = np.subtract.outer(np.arange(6), np.arange(6))
    near = (before < 2) & (before >= 0 if is_causal else before > -2)
    assert weights.shape == (2, 6, 6)
    assert (weights[:, ~near] == 0).all()
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)
    # what the network itself computes, block by block, is what these weights make of the values
    saved = load_file(run.dir / "checkpoints" / "final.safetensors")
    x = load(tmp_path / "a.yaml").data.load().test.x[3]
    own = {
        name.removeprefix("both_ways."): one.numpy() for name, one in saved.items() if name.startswith("both_ways")
    }
    value = (x @ own["in_proj_weight"][16:].T + own["in_proj_bias"][16:]).reshape(6, 2, 4).transpose(1, 0, 2)
    made = (weights @ value).transpose(1, 0, 2).reshape(6, 8) @ own["out_proj.weight"].T + own["out_proj.bias"]
    np.testing.assert_allclose(outputs, made, atol=1e-5)
    network, _ = restore_all(run.dir)["network"]
    with torch.no_grad():
        whole = network.eval()(torch.from_numpy(x)[None])
    expected = torch.from_numpy(made.reshape(1, -1)) @ saved["linear_1.weight"].T + saved["linear_1.bias"]
    torch.testing.assert_close(whole, expected, atol=1e-5, rtol=1e-5)


def test_weights_of_relative_attention_add_up_to_1_and_tokens_are_their_texts(text):
    seen = inside(text, 0)
    np.testing.assert_allclose(seen.attention["relative"].sum(-1), 1, atol=1e-6)
    whole = "".join(inside(text, 0).example.tokens)
    assert whole in (text.dir.parents[2] / "text.txt").read_text()
    assert len(seen.example.tokens) == 6


def test_an_example_that_is_not_there_is_told(pictures):
    with pytest.raises(DlxError, match=r"the part `test` of .* has no example 4,000: it has 359 examples") as caught:
        inside(pictures, 4_000)
    assert caught.value.problems[0].hint == "Take one from 0 to 358."
    with pytest.raises(DlxError, match="has no part `tset`"):
        inside(pictures, 0, "tset")


# --- calibration ----------------------------------------------------------------------------------------------------


def test_the_expected_calibration_error_is_that_of_guo_et_al_by_hand():
    """Two bins: three predictions of 0.6, 0.8 and 0.9, of which two are right; two of 0.3 and 0.5, of which one is.

    |2/3 - 2.3/3| * 3/5 + |1/2 - 0.8/2| * 2/5 = 0.06 + 0.04; 0.5 itself is in the lower bin, (0, 1/2].
    """
    found = binned(np.array([0.6, 0.3, 0.8, 0.5, 0.9]), np.array([1, 0, 1, 1, 0]), bins=2)
    assert found.count.tolist() == [2, 3]
    assert found.confidence.tolist() == pytest.approx([0.4, 2.3 / 3])
    assert found.accuracy.tolist() == pytest.approx([0.5, 2 / 3])
    assert found.expected_error == pytest.approx(0.1)
    assert found.largest_error == pytest.approx(0.1)


def test_who_is_right_as_often_as_he_says_has_no_error_and_who_always_says_1_has_one():
    draw = np.random.default_rng(0)
    confidence = draw.uniform(0.5, 1, 200_000)
    right = draw.uniform(size=len(confidence)) < confidence
    assert binned(confidence, right).expected_error < 0.01
    sure = binned(np.ones_like(confidence), right)
    assert sure.expected_error == pytest.approx(0.25, abs=0.005)  # 1 minus the accuracy of 0.75
    assert sure.count[:-1].sum() == 0


@pytest.mark.parametrize("bins", [10, 15, 20])
def test_confidences_at_the_ends_of_bins_are_in_the_same_bins_in_single_and_double_precision(bins):
    """Rounded up as a double, a single of 0.3 is above 3/10: 0.025, not 0.325, for 0.3 (6 of 10) and 0.35 (none)."""
    ends = np.arange(1, bins + 1) / bins
    for precision in (np.float32, np.float64):
        assert binned(ends.astype(precision), np.ones(bins), bins).count.tolist() == [1] * bins


def test_the_calibration_of_a_run_is_that_of_its_probabilities(pictures):
    """The outputs by hand, in the bins of numpy's own histogram."""
    (found,) = calibration(pictures)
    own, data = weights_of(pictures), load(pictures.dir / "spec.yaml").data.load().test
    x, y = torch.from_numpy(np.asarray(data.x[:])), np.asarray(data.y)
    hidden = F.max_pool2d(F.conv2d(x, own["conv_1.weight"], own["conv_1.bias"], padding=1).relu(), 2).flatten(1)
    p = F.linear(hidden, own["linear_1.weight"], own["linear_1.bias"]).softmax(1).double().numpy()
    confidence, right = p.max(1), p.argmax(1) == y
    count, bounds = np.histogram(confidence, 15, (0, 1))
    assert found.count.tolist() == count.tolist()
    hits, _ = np.histogram(confidence[right], bounds)
    said, _ = np.histogram(confidence, bounds, weights=confidence)
    assert found.expected_error == pytest.approx(np.abs(hits - said).sum() / len(y), abs=1e-5)
    assert found.expected_error == pytest.approx(pictures.end()["metrics"]["test/calibration_error"], abs=1e-5)
    turned = binned(confidence, ~right)
    assert turned.expected_error != pytest.approx(found.expected_error, abs=1e-2)


def test_a_run_without_classes_has_no_calibration(tmp_path):
    run = trained(tmp_path, ROWS.replace("classification", "regression").replace("{linear: 2}", "{linear: 1}"))
    with pytest.raises(DlxError, match="gives no probabilities of classes"):
        calibration(run)
