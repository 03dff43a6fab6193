"""Labels of sequences: losses and metrics over the positions that count, by hand and by scikit-learn."""

import itertools

import numpy as np
import pytest
import sklearn.metrics as theirs
import torch
from complaints import report

from dlx.experiment.session import job_of
from dlx.lazy import F
from dlx.objectives import OBJECTIVES
from dlx.spec import load
from dlx.training.fit import fit
from dlx.training.prepared import prepare

NAMES = ["noun", "verb", "other"]
SPEC = """\
dlx: 1
name: tags
data: {arrays: {path: tags.npz, inputs: {words: {array: words, is: integers}}, targets: {tags: tags}}}
network: {layers: [{embedding: {num_embeddings: 9, embedding_dim: 8}}, LAYERS]}
objective: OBJECTIVE
train: {epochs: 10, batch_size: 10, optimizer: {adam: 0.02}, device: cpu}
track: {mlflow: false}
"""


def made(**options):
    return OBJECTIVES["sequence_labelling"].model_validate(options)


def drawn(seed=0):
    """Outputs (12, 5, 3) and targets (12, 5), of which some do not count, and of one sequence none."""
    rng = torch.Generator().manual_seed(seed)
    target = torch.randint(0, 3, (12, 5), generator=rng)
    output = F.one_hot(target, 3) + 0.5 * torch.randn(12, 5, 3, generator=rng)
    target[1, 2:], target[2], target[7, 4] = -100, -100, -100
    return output, target


def measured(objective, output, target, cuts=(0, 4, 5, 12)):
    meters = objective.evaluation()
    for a, b in itertools.pairwise(cuts):
        meters.add(output[a:b], target[a:b])
    return meters.result(), meters.notes({"": NAMES})


def test_metrics_are_of_positions_that_count_and_of_whole_sequences():
    output, target = drawn()
    found, _ = measured(made(metrics=["f1", "recall"], per_label=True, labels=NAMES), output, target)
    there, said = target >= 0, output.argmax(2)
    assert found["accuracy"] == pytest.approx(theirs.accuracy_score(target[there], said[there]))
    assert found["error"] == pytest.approx(1 - found["accuracy"])
    each = theirs.f1_score(target[there], said[there], average=None)
    assert [found[f"f1/{name}"] for name in NAMES] == pytest.approx(each.tolist())
    assert found["f1"] == pytest.approx(each.mean())
    recalls = theirs.recall_score(target[there], said[there], average=None)
    assert [found[f"recall/{name}"] for name in NAMES] == pytest.approx(recalls.tolist())
    by_hand = [bool((one[ok] == y[ok]).all()) for one, y, ok in zip(said, target, there, strict=True) if ok.any()]
    assert len(by_hand) == 11
    assert 0 < sum(by_hand) < 11
    assert found["exact_match"] == pytest.approx(sum(by_hand) / 11)
    loss = F.cross_entropy(output.flatten(0, 1), target.flatten())
    assert found["loss"] == pytest.approx(float(loss))


def test_positions_behind_the_end_neither_help_nor_harm():
    output, target = drawn()
    other = output.clone()
    other[target < 0] = torch.tensor([9.0, -9.0, 0.0])
    assert measured(made(), output, target) == measured(made(), other, target)
    loss, moved = made().training_loss(), output.clone().requires_grad_()
    loss(moved, target).backward()
    assert (moved.grad[target < 0] == 0).all()
    assert (moved.grad[target >= 0] != 0).all()


def test_a_label_that_is_nowhere_is_told_and_has_no_figure():
    output, target = drawn()
    output[..., 2], target[target == 2] = -9, 0
    found, notes = measured(made(metrics=["f1"], per_label=True, labels=NAMES), output, target)
    assert np.isnan(found["f1/other"])
    assert found["f1"] == pytest.approx((found["f1/noun"] + found["f1/verb"]) / 2)
    assert notes == {"f1": "without class other, of which there is no target"}


def test_further_outputs_and_flooding_count_as_for_other_objectives():
    output, target = drawn()
    outputs = {"last": output, "early": output / 2}
    each = [F.cross_entropy(one.flatten(0, 1), target.flatten()) for one in outputs.values()]
    assert torch.isclose(made(aux={"early": 0.3}).training_loss()(outputs, target), each[0] + 0.3 * each[1])
    assert torch.isclose(made(flooding=1.0).training_loss()(output, target), (each[0] - 1).abs() + 1)


# --- specs --------------------------------------------------------------------------------------------------------


def spec(folder, objective="sequence_labelling", layers="{linear: 3}", shape=(60, 4), classes=3):
    rng = np.random.default_rng(0)
    words = rng.integers(0, 9, (60, 4))
    y = (words % classes if len(shape) > 1 else words[:, 0] % classes).astype("int64")
    if len(shape) > 1:
        y[:, 3] = np.where(rng.random(60) < 0.5, -100, y[:, 3])
    if len(shape) > 2:
        y = np.tile(y[:, :, None], (1, 1, shape[2]))
    parts = {"words": words[:40], "tags": y[:40], "test_words": words[40:], "test_tags": y[40:]}
    np.savez(folder / "tags.npz", **parts)
    return SPEC.replace("LAYERS", layers).replace("OBJECTIVE", objective)


def test_names_of_labels_are_those_of_the_data_or_their_numbers(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(spec(tmp_path, "{sequence_labelling: {metrics: [f1], per_label: true}}"))
    end = list(fit(job_of(prepare(load(path)))))[-1].metrics
    assert [end[f"test/f1/{i}"] for i in range(3)] == [1, 1, 1]
    assert end["test/exact_match"] == 1
    broken = list(fit(job_of(prepare(load(path, ["train.epochs=1", "train.optimizer.adam.lr=1e-12"])))))[-1].metrics
    assert broken["test/exact_match"] < 0.5


def test_it_is_segmentation_with_labels_first_to_the_bit(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(spec(tmp_path))
    first = list(fit(job_of(prepare(load(path)))))[-1].metrics
    path.write_text(spec(tmp_path, "segmentation", "{linear: 3}, transpose"))
    second = list(fit(job_of(prepare(load(path)))))[-1].metrics
    assert {name: first[name] for name in second} == second


@pytest.mark.parametrize(
    ("objective", "layers", "shape", "complaint"),
    [
        (
            "sequence_labelling",
            "{linear: 3}, transpose",
            (60, 4),
            (
                "the network ends in (3, 4), and the data has 3 labels at 4 positions\n"
                "  Labels are on the last axis here: leave out the `transpose`."
            ),
        ),
        (
            "sequence_labelling",
            "flatten, {linear: 3}",
            (60, 4),
            (
                "the network ends in (3,), and the data has 3 labels at 4 positions\n"
                "  Keep the axis of the 4 positions, as `flatten` does not, and end in the labels. Let the last "
                "layer be `linear: 3`."
            ),
        ),
        (
            "sequence_labelling",
            "{linear: 5}",
            (60, 4),
            (
                "the network ends in (4, 5), and the data has 3 labels at 4 positions\n"
                "  Let the last layer be `linear: 3`."
            ),
        ),
        (
            "sequence_labelling",
            "{linear: 3}",
            (60,),
            (
                "sequence_labelling wants a label at each position of a sequence, and the data has 3 classes, one an "
                "example\n  Use `objective: classification`."
            ),
        ),
        (
            "sequence_labelling",
            "{linear: 3}",
            (60, 4, 2),
            (
                "sequence_labelling wants a label at each position of a sequence, and the data has one at each "
                "position of (4, 2)\n  Use `objective: segmentation`."
            ),
        ),
        (
            "{sequence_labelling: {loss: hinge}}",
            "{linear: 3}",
            (60, 4),
            (
                "the loss hinge wants one target an example, and sequence_labelling has one a position\n"
                "  Use `loss: cross_entropy`."
            ),
        ),
        (
            "{sequence_labelling: {labels: [noun, verb]}}",
            "{linear: 3}",
            (60, 4),
            "`labels` of sequence_labelling has 2 names, and the data has 3 labels",
        ),
        (
            "{sequence_labelling: {labels: [noun, verb, noun]}}",
            "{linear: 3}",
            (60, 4),
            "the label noun is there twice",
        ),
    ],
)
def test_what_does_not_fit_is_told_at_its_place(tmp_path, objective, layers, shape, complaint):
    found = report(tmp_path, spec(tmp_path, objective, layers, shape))
    assert complaint in found
    assert found.startswith("s.yaml:")
