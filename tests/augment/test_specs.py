"""Augmentation as a spec has it: what fits, what is refused, what the network sees, what training does."""

import json

import pytest
import torch
from complaints import report
from jsonschema import Draft7Validator

from dlx.analysis.doctor.diagnosis import examine
from dlx.errors import SpecError
from dlx.experiment import runner
from dlx.graph import trace
from dlx.network import build
from dlx.spec import load, objective_of
from dlx.spec.schema import schema
from dlx.training import fit as fitting
from dlx.training.batches.on_device import on_device
from dlx.training.device import threads

PICTURES = "{synthetic: {shape: [3, 8, 8], classes: 4, train: 64, valid: 20, test: 20}}"
MASKS = "{shapes: {size: 8, train: 20, valid: 10, test: 10}}"
VALUES = "{synthetic: {shape: [3, 8, 8], target: [2], train: 20, valid: 10, test: 10}}"
SIGNALS = "{synthetic: {shape: [1, 12], classes: 4, train: 20}}"
LAYERS = "[{conv: {out_channels: 3, kernel_size: 3}}, relu, flatten, {linear: 4}]"


def text(augment="[]", data=PICTURES, layers=LAYERS, more=""):
    return f"""\
dlx: 1
name: s
data: {data}
network: {{layers: {layers}}}
train:
  epochs: 2
  batch_size: 16
  augment: {augment}
{more}"""


def spec(folder, *args, **kwargs):
    path = folder / "s.yaml"
    path.write_text(text(*args, **kwargs) + "\ntrack: {mlflow: false}\n")
    return load(path)


def job(folder, *args, **kwargs):
    torch.manual_seed(0)
    one = spec(folder, *args, **kwargs)
    sets, graph = one.data.load(), trace(one)
    parts = on_device(sets, torch.device("cpu"))
    return fitting.Job(build(graph, one.init), objective_of(one), one.train, parts, preprocess=sets.preprocess)


# --- what is refused ------------------------------------------------------------------------------------------------

REFUSED = [
    ("[rotate]", PICTURES, ["`degrees` is missing"]),
    ("[{crop: 9}]", PICTURES, ["crop wants 9x9 out of 8x8", "Make `size` smaller, or `padding` larger."]),
    (
        "[{crop: {size: 13, padding: 2}}]",
        PICTURES,
        ["crop wants 13x13 out of 8x8, 12x12 with its padding", "Make `size` smaller"],
    ),
    (
        "[{crop: {size: 10, padding: 2}}]",
        PICTURES,
        ["`augment` makes (3, 10, 10) of (3, 8, 8), and evaluation has no middle of that size"],
    ),
    ("[{crop: {padding: 8, padding_mode: reflect}}]", PICTURES, ["a mirror shows one less than there is"]),
    ("[{crop: [4, 4, 4]}]", PICTURES, ["size = [4, 4, 4] has 3 values", "Give one number, or 2 of them."]),
    ("[{shift: 8}]", PICTURES, ["shift by 8 leaves nothing of 8x8"]),
    ("[{cutout: 9}]", PICTURES, ["a patch of 9x9 is larger than the input 8x8"]),
    ("[{resized_crop: 9}]", PICTURES, ["resized_crop makes 9x9 of 8x8, and the middle is shown at evaluation"]),
    ("[{rotate: 10}]", SIGNALS, ["rotate is for pictures (channels, height, width), and what comes in is (1, 12)"]),
    (
        "[{color_jitter: {brightness: 0.1, hue: 0.1}}]",
        MASKS,
        ["hue of color_jitter want red, green and blue, and what comes in is (1, 8, 8)", "Keep `brightness`"],
    ),
    ("[pca_color]", MASKS, ["pca_color wants red, green and blue, and what comes in is (1, 8, 8)"]),
    (
        "[mixup]",
        MASKS,
        ["mixup mixes two classes, one of each example, and segmentation has a class at each position"],
    ),
    (
        "[mixup]",
        VALUES,
        ["mixup mixes two classes, one of each example, and regression has targets of shape (2,)", "Leave it out."],
    ),
    ("[mixup, cutmix]", PICTURES, ["cutmix mixes what mixup has mixed", "Keep one of the two."]),
    (
        "[horizontal_flip]",
        VALUES,
        [
            "horizontal_flip moves positions of (3, 8, 8), and the data has targets of shape (2,), which it cannot",
            "`horizontal_flip: {keep_targets: true}`",
        ],
    ),
    (
        "[{color_jitter: 0.1}]",
        "{digits: {preprocess: [whiten]}}",
        ["color_jitter changes brightness from 0 to 1, and `preprocess` has whiten, which is not undone"],
    ),
    (
        "[horizontal_flip, {color_jitter: 0.1}]",
        "{digits: {standardize: feature}}",
        [
            "color_jitter comes after horizontal_flip, and preprocessing by value (`feature`) cannot be undone there",
            "Put color_jitter first, or preprocess by `channel`.",
        ],
    ),
    ("[{random_erasing: {scale: [0.3, 0.1]}}]", PICTURES, ["`scale` runs from 0.3 to 0.1: give the smaller number"]),
    ("[{affine: {degrees: [9, -9]}}]", PICTURES, ["`degrees` runs from 9 to -9: give the smaller number first"]),
    (
        "[{one_of: [horizontal_flip, {crop: 6}]}]",
        PICTURES,
        [
            "of (3, 8, 8) horizontal_flip makes (3, 8, 8) and crop (3, 6, 6), and one_of wants one shape",
            "Put what changes the size before or after it.",
        ],
    ),
    (
        "[{one_of: {of: [horizontal_flip, gaussian_noise], weights: [1, 2, 3]}}]",
        PICTURES,
        ["`weights` has 3 values, and there are 2 augmentations"],
    ),
    ("[{one_of: [horizontal_flip, mixup]}]", PICTURES, ["mixup has one draw for a batch, and one_of one for each"]),
    ("[{one_of: [horizontal_flip]}]", PICTURES, ["`of` must be a list of at least 2, not"]),
    ("[{one_of: [gaussian_noise, {crop: 9}]}]", PICTURES, ["crop wants 9x9 out of 8x8"]),
    (
        "[{one_of: [gaussian_noise, horizontal_flip]}]",
        VALUES,
        ["horizontal_flip moves positions of (3, 8, 8), and the data has targets of shape (2,), which it cannot"],
    ),
    (
        "[{one_of: [horizontal_flip, gaussian_noise]}, {color_jitter: 0.1}]",
        "{digits: {standardize: feature}}",
        ["color_jitter comes after horizontal_flip, and preprocessing by value (`feature`) cannot be undone there"],
    ),
    ("[{horizontal_flip: 1.5}]", PICTURES, ["`p` must be at most 1, not 1.5"]),
    ("[hflip]", PICTURES, ["there is no augmentation `hflip`"]),
    ("horizontal_flip", PICTURES, ["`augment` must be a list, not"]),
]


@pytest.mark.parametrize(("augment", "data", "sentences"), REFUSED, ids=[f"{a}" for a, _, _ in REFUSED])
def test_what_does_not_fit_is_reported_with_its_place_before_training(tmp_path, augment, data, sentences):
    message = report(tmp_path, text(augment, data))
    assert "s.yaml:8:" in message
    for sentence in sentences:
        assert sentence in message


def test_the_place_is_that_of_the_augmentation(tmp_path):
    message = report(tmp_path, text("[horizontal_flip, {crop: 99}]"))
    assert message.startswith("s.yaml:8:30  train.augment.1.crop\n  crop wants 99x99 out of 8x8"), message


def test_colours_of_what_is_no_brightness_are_reported_before_training(tmp_path):
    with pytest.raises(SpecError) as error:
        runner.prepare(spec(tmp_path, "[horizontal_flip, {color_jitter: {contrast: 0.4}}]"))
    message = str(error.value)
    assert "s.yaml:8:30  train.augment.1.color_jitter" in message
    assert "color_jitter changes brightness from 0 to 1, and the data goes from -3.71 to 3.44" in message


def test_colours_of_standardised_pictures_are_taken(tmp_path):
    data = "{digits: {standardize: channel, preprocess: [{rescale: {low: -1}}]}}"
    layers = "[flatten, {linear: 10}]"
    graph = runner.prepare(spec(tmp_path, "[{color_jitter: {contrast: 0.4}}]", data, layers)).graph
    assert tuple(graph.inputs["input"]) == (1, 8, 8)


def test_an_optimizer_that_looks_at_the_loss_again_wants_the_same_examples(tmp_path):
    message = report(tmp_path, text("[horizontal_flip]", more="  optimizer: lbfgs"))
    assert "lbfgs looks at the loss more than once a step, and `augment` would show it another one" in message


VIEWS_REFUSED = [
    ("five_crop", PICTURES, "five_crop takes corners of 8x8, and the network takes 8x8: all are the same"),
    ("five_crop", SIGNALS, "five_crop takes corners of pictures, and the data gives (1, 12)"),
    ("horizontal_flip", MASKS, "horizontal_flip averages predictions of several views, and segmentation has them at"),
    (
        "horizontal_flip",
        "{mnist1d: {preprocess: [pca]}}",
        "horizontal_flip mirrors positions, and the data gives (40,)",
    ),
]


@pytest.mark.parametrize(("view", "data", "sentence"), VIEWS_REFUSED)
def test_views_that_cannot_be_had_are_reported(tmp_path, view, data, sentence):
    message = report(tmp_path, text(data=data, more=f"  test_time: {view}"))
    assert "s.yaml:9:" in message
    assert sentence in message


def test_outputs_without_a_mean_cannot_be_averaged(tmp_path):
    message = report(
        tmp_path,
        text(data=VALUES, layers="[flatten, {linear: 6}]", more="  test_time: horizontal_flip")
        + "\nobjective: {regression: {loss: {mixture_density: {components: 1}}}}\n",
    )
    assert "horizontal_flip averages predictions, and the outputs of mixture_density have no mean" in message


# --- what the network sees ------------------------------------------------------------------------------------------


def test_the_network_is_planned_for_the_size_of_the_crops(tmp_path):
    graph = trace(spec(tmp_path, "[{crop: 6}, horizontal_flip, {resized_crop: 5}]"))
    assert tuple(graph.inputs["input"]) == (3, 5, 5)
    assert graph.nodes[0].shape == (3, 3, 3)


def test_masks_are_cropped_with_their_pictures(tmp_path):
    layers = "[{conv: {out_channels: 4, kernel_size: 1}}]"
    graph = trace(spec(tmp_path, "[{crop: 6}]", MASKS, layers))
    assert tuple(graph.nodes[0].shape) == (4, 6, 6)
    made = job(tmp_path, "[{crop: 6}, {rotate: 20}]", MASKS, layers)
    x, y = made.parts["train"].take(torch.arange(5)).fields.values()
    assert (x.shape, y.shape) == ((5, 1, 6, 6), (5, 6, 6))
    assert set(y.flatten().tolist()) <= {-100, 0, 1, 2, 3}
    x, y = next(made.parts["valid"].chunks(100)).fields.values()
    whole = spec(tmp_path, "[]", MASKS).data.load().valid
    assert x.tolist() == whole.x[:, :, 1:7, 1:7].tolist()
    assert y.tolist() == whole.y[:, 1:7, 1:7].tolist()


def test_without_any_the_parts_are_what_they_were(tmp_path):
    one = spec(tmp_path)
    parts = on_device(one.data.load(), torch.device("cpu"))
    assert fitting.Job(build(trace(one)), objective_of(one), one.train, parts).parts is parts


def test_training_sees_changed_examples_and_evaluation_the_examples(tmp_path):
    made, plain = job(tmp_path, "[{gaussian_noise: 1}]"), job(tmp_path)
    first = torch.arange(16)
    assert not torch.equal(made.parts["train"].take(first)["input"], plain.parts["train"].take(first)["input"])
    assert torch.equal(made.parts["train"].take(first).y, plain.parts["train"].take(first).y)
    for name in ("train", "valid", "test"):
        assert fitting.evaluate(made, name) == fitting.evaluate(plain, name)


# --- views ----------------------------------------------------------------------------------------------------------


def by_hand(made, views):
    """Accuracy and cross-entropy of the mean of softmax probabilities over views of the test part."""
    x, y = made.parts["test"].of.x, made.parts["test"].of.y
    with torch.no_grad():
        p = torch.stack([made.network.eval()(view(x)).softmax(1) for view in views]).mean(0)
    return (p.argmax(1) == y).float().mean().item(), -p[torch.arange(len(y)), y].log().mean().item()


def crops(size, there):
    far, half = there - size, (there - size) // 2
    places = [(0, 0), (0, far), (far, 0), (far, far), (half, half)]
    return [lambda x, i=i, j=j: x[:, :, i : i + size, j : j + size] for i, j in places]


def test_five_crops_are_the_corners_and_the_middle_and_probabilities_are_averaged(tmp_path):
    made = job(tmp_path, "[{crop: 6}]", more="  test_time: five_crop")
    found = fitting.evaluate(made, "test")
    accuracy, loss = by_hand(made, crops(6, 8))
    assert found["test/accuracy"] == pytest.approx(accuracy)
    assert found["test/loss"] == pytest.approx(loss, rel=1e-5)


def test_ten_crops_are_these_and_their_mirror_images(tmp_path):
    made = job(tmp_path, "[{crop: 6}]", more="  test_time: ten_crop")
    views = crops(6, 8)
    views += [lambda x, view=view: view(x).flip(-1) for view in views]
    assert fitting.evaluate(made, "test")["test/loss"] == pytest.approx(by_hand(made, views)[1], rel=1e-5)


def test_several_scales_are_the_ten_crops_of_resized_pictures(tmp_path):
    made = job(tmp_path, "[{crop: 6}]", more="  test_time: {multi_scale: [1, 1.667]}")
    resized = [
        lambda x, n=n: torch.nn.functional.interpolate(x, (n, n), mode="bilinear", antialias=True) for n in (6, 10)
    ]
    views = [
        lambda x, view=view, to=to: view(to(x))
        for to, there in zip(resized, (6, 10), strict=True)
        for view in crops(6, there)
    ]
    views += [lambda x, view=view: view(x).flip(-1) for view in views]
    found = fitting.evaluate(made, "test")["test/loss"]
    assert found == pytest.approx(by_hand(made, views)[1], rel=1e-5)
    assert found != pytest.approx(by_hand(made, views[:5])[1], rel=1e-5)  # of one scale alone, not mirrored


def test_the_default_scales_are_those_of_resnet():
    from dlx.augment.views import MultiScale

    view = MultiScale()
    sides = [view._there((300, 400), (224, 224), scale) for scale in view.scales]
    assert [height for height, _ in sides] == [224, 256, 384, 480, 640]
    assert sides[0] == (224, 299)
    assert len(list(view.of(torch.zeros(1, 1, 8, 8), (7, 7)))) == 50


def test_scales_that_are_too_small_are_refused(tmp_path):
    with pytest.raises(SpecError) as refused:
        job(tmp_path, "[{crop: 6}]", more="  test_time: {multi_scale: [0.5, 1]}")
    assert "multi_scale makes 3x3 of 8x8 by the scale 0.5, and the network takes 6x6" in str(refused.value)


def test_a_mirror_image_is_a_view_and_padding_makes_corners(tmp_path):
    made = job(tmp_path, more="  test_time: horizontal_flip")
    views = [lambda x: x, lambda x: x.flip(-1)]
    assert fitting.evaluate(made, "test")["test/loss"] == pytest.approx(by_hand(made, views)[1], rel=1e-5)

    made = job(tmp_path, "[{crop: {padding: 1}}]", more="  test_time: {five_crop: {padding: 1}}")
    pad = torch.nn.ConstantPad2d(1, 0.0)
    views = [lambda x, view=view: view(pad(x)) for view in crops(8, 10)]
    assert fitting.evaluate(made, "test")["test/loss"] == pytest.approx(by_hand(made, views)[1], rel=1e-5)


def test_without_views_the_middle_is_seen(tmp_path):
    made = job(tmp_path, "[{crop: 6}]")
    assert fitting.evaluate(made, "test")["test/loss"] == pytest.approx(by_hand(made, crops(6, 8)[4:])[1], rel=1e-5)


# --- training -------------------------------------------------------------------------------------------------------

ALL = (
    "[horizontal_flip, vertical_flip, {crop: {padding: 1}}, resized_crop, {rotate: 10}, {shear: 5}, elastic, shift, "
    "gaussian_blur, {gaussian_noise: 0.1}, {cutout: 2}, random_erasing, mixup]"
)


def weights_after(made):
    torch.manual_seed(made.train.seed)
    with threads(1):
        for _ in fitting.fit(made):
            pass
    return [p.detach().clone() for p in made.network.parameters()]


def test_the_same_seed_trains_to_the_same_bits(tmp_path):
    first, again = weights_after(job(tmp_path, ALL)), weights_after(job(tmp_path, ALL))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_a_replayed_step_draws_what_a_plain_one_draws(tmp_path):
    long = "  trace: {}\n  steps: 220\n"
    both = []
    for trace_it in ("true", "false"):
        more = long.format(trace_it)
        written = text("[horizontal_flip, {crop: {padding: 1}}, {rotate: 10}, mixup]", more=more)
        path = tmp_path / "s.yaml"
        path.write_text(written.replace("  epochs: 2\n", ""))
        one = load(path)
        torch.manual_seed(0)
        parts = on_device(one.data.load(), torch.device("cpu"))
        made = fitting.Job(build(trace(one)), objective_of(one), one.train, parts)
        both.append(weights_after(made))
        assert made.learner.way["step"] == ("replayed" if trace_it == "true" else "plain"), made.learner.way
    assert all(torch.equal(a, b) for a, b in zip(*both, strict=True))


def test_mixed_targets_go_with_accumulation_and_clipping(tmp_path):
    made = job(tmp_path, "[cutmix]", more="  accumulate: 2\n  clip_norm: 1")
    assert all(torch.isfinite(w).all() for w in weights_after(made))


def test_a_run_by_the_spec_alone_and_its_doctor(tmp_path):
    one = spec(tmp_path, "[{crop: 6}, horizontal_flip, {mixup: 0.2}]", more="  test_time: ten_crop")
    metrics = runner.run(one, tmp_path / "runs").metrics
    assert {"train/loss", "valid/accuracy", "test/accuracy"} <= metrics.keys()
    verdicts = {row.check: row.outcome.verdict for row in examine(one).checks}
    assert verdicts["overfit a batch"] == "ok", verdicts


def test_colours_are_changed_in_standardised_pictures(tmp_path):
    from dlx.data.preprocess import fit_steps
    from dlx.data.preprocess.affine import Standardize

    made = job(tmp_path, "[{color_jitter: {brightness: [0.5, 0.5]}}]", more="")
    raw = torch.rand(64, 3, 8, 8)
    steps, seen = fit_steps([Standardize.model_validate({"per": "channel"})], raw.numpy())
    part = fitting.DataPart(torch.from_numpy(seen), torch.zeros(64, dtype=torch.long))
    again = fitting.Job(made.network, made.objective, made.train, {"train": part}, preprocess=tuple(steps))
    found = again.parts["train"].take(torch.arange(64))["input"]
    assert torch.allclose(found, torch.from_numpy(steps[0]((raw / 2).numpy())), atol=1e-5)


def test_the_schema_takes_what_the_spec_takes(tmp_path):
    validator = Draft7Validator(schema())
    for augment in ("[horizontal_flip]", "[{crop: {padding: 4}}, {mixup: 0.2}]", ALL):
        one = spec(tmp_path, augment, more="  test_time: {five_crop: {padding: 1}}")
        assert not list(validator.iter_errors(json.loads(json.dumps(one.root.plain()))))
    assert list(validator.iter_errors({"train": {"augment": ["hflip"]}}))
