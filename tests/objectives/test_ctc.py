"""Sequences without places: probabilities, decoding and edits by hand, and what becomes of infeasible targets."""

from itertools import groupby, pairwise, product
from math import log

import numpy as np
import pytest
import torch
import torchmetrics.functional.text as theirs
from complaints import report

from dlx.errors import SpecError
from dlx.experiment import runner
from dlx.experiment.session import job_of
from dlx.lazy import F
from dlx.losses import LOSSES
from dlx.metrics.ctc_decoding import best_path, prefix_search
from dlx.metrics.edit_distance import edit_distance
from dlx.objectives import OBJECTIVES
from dlx.spec import load
from dlx.trained.closer import Closer
from dlx.trained.evaluate import evaluate
from dlx.trained.predict import predict
from dlx.training import infeasible
from dlx.training.fit import fit
from dlx.training.prepared import prepare


def made(**options):
    return OBJECTIVES["ctc"].model_validate(options)


def labels_of(path, blank):
    """Merge repeats and drop blanks; an output beyond the blank is the label before."""
    return tuple(k - (k > blank) for k, _ in groupby(path) if k != blank)


def probability_of_each(logits, blank):
    """The probability of every sequence of labels, over all paths."""
    p, found = logits.softmax(1).tolist(), {}
    for path in product(range(logits.shape[1]), repeat=len(logits)):
        one = labels_of(path, blank)
        found[one] = found.get(one, 0) + np.prod([row[k] for row, k in zip(p, path, strict=True)])
    return found


def by_torch(logits, labels, count, **options):
    positions = torch.full((len(logits),), logits.shape[1])
    return F.ctc_loss(logits.log_softmax(2).transpose(0, 1), labels, positions, torch.tensor(count), **options)


def row_of(labels, length=4):
    return torch.tensor([[*labels, *[-100] * (length - len(labels))]])


@pytest.mark.parametrize("blank", [0, 1, 2])
def test_the_loss_is_the_sum_over_all_paths_and_a_wide_search_finds_the_best(blank):
    logits = 0.5 * torch.randn(20, 4, 3, dtype=torch.double, generator=torch.Generator().manual_seed(1))
    loss, told = made(blank=blank).loss_function(), prefix_search(logits, blank, 1000)
    narrow = []
    for one, best in zip(logits, told, strict=True):
        each = probability_of_each(one, blank)
        assert sum(each.values()) == pytest.approx(1)
        for labels, p in each.items():
            assert float(loss(one[None], row_of(labels))) == pytest.approx(-log(p) / max(1, len(labels)))
        assert tuple(k for k in best.tolist() if k >= 0) == max(each, key=each.get)
        path = best_path(one[None], blank)[0].tolist()
        assert tuple(k for k in path if k >= 0) == labels_of(one.argmax(1).tolist(), blank)
        narrow.append(each[tuple(k for k in path if k >= 0)] < max(each.values()) - 1e-12)
    assert blank != 0 or any(narrow)  # the best path is not always the best sequence


def test_labels_may_stand_anywhere_in_a_target():
    logits, loss = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0)), made().loss_function()
    apart, front = (
        torch.tensor([[-100, 2, -100, 0], [1, -100, 1, -100]]),
        torch.tensor([[2, 0, -1, -1], [1, 1, -1, -1]]),
    )
    assert torch.equal(loss(logits, apart), loss(logits, front))
    each = by_torch(logits, torch.tensor([[3, 1], [2, 2]]), [2, 2], reduction="none")
    assert torch.isclose(loss(logits, front), by_torch(logits, torch.tensor([[3, 1], [2, 2]]), [2, 2]))
    for reduction, expected in (("sum", each.sum()), ("batchmean", each.mean())):
        found = made(loss=LOSSES["ctc"](reduction=reduction)).loss_function()(logits, front)
        assert torch.isclose(found, expected)


def test_an_infeasible_target_neither_counts_nor_moves_a_weight():
    """Three positions hold two different labels, and not two of a kind with a third."""
    logits = torch.randn(3, 3, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    target = torch.tensor([[0, 1, -100], [1, 1, 0], [1, 1, -100]])
    objective = made()
    assert objective.positions_needed(target).tolist() == [2, 4, 3]
    loss = objective.loss_function()(logits, target)
    assert torch.isclose(loss, by_torch(logits, (target + 1).clamp_min(0), [2, 3, 2], zero_infinity=True))
    loss.backward()
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[1] == 0).all()
    assert (logits.grad[[0, 2]] != 0).any(2).all()
    meters = objective.evaluation()
    meters.add(logits.detach(), target)
    assert meters.result()["infeasible"] == pytest.approx(1 / 3)
    assert meters.notes() == {"infeasible": "1 of 3 targets take more than the 3 positions"}


def test_edits_are_those_of_the_table_by_hand_and_of_torchmetrics():
    """kitten to sitting: two changes and an insertion."""
    letters = [torch.tensor([[ord(c) for c in word] + [-1] * (9 - len(word))]) for word in ("kitten", "sitting")]
    assert edit_distance(*letters).tolist() == [3]
    rng = torch.Generator().manual_seed(0)
    first, second = torch.randint(0, 4, (60, 7), generator=rng), torch.randint(0, 4, (60, 9), generator=rng)
    for one in (first, second):
        ends = torch.randint(0, one.shape[1] + 1, (60, 1), generator=rng)
        one[torch.arange(one.shape[1]) >= ends] = -1
    texts = [["".join(map(str, row[row >= 0].tolist())) for row in one] for one in (first, second)]
    for found, a, b in zip(edit_distance(first, second).tolist(), *texts, strict=True):
        assert found == int(theirs.edit_distance(a, b, reduction="sum"))
    assert edit_distance(first, second).tolist() != [0] * 60


def test_metrics_are_of_all_labels_and_whole_sequences():
    told = [[0, 1], [2], [], [1, 1]]
    truth = torch.tensor([[0, 1, -100], [2, 0, 1], [1, -100, -100], [1, 1, -100]])
    paths = [[1, 0, 0, 2, 0], [3, 3, 3, 0, 0], [0, 0, 0, 0, 0], [2, 2, 0, 2, 2]]
    logits = 9.0 * F.one_hot(torch.tensor(paths), 4)
    assert [[k for k in row if k >= 0] for row in best_path(logits, 0).tolist()] == told
    for beam in (None, 4):
        meters = made(beam=beam).evaluation()
        for a, b in pairwise((0, 1, 4)):
            meters.add(logits[a:b], truth[a:b])
        found = meters.result()
        assert found["character_error_rate"] == pytest.approx(3 / 8)
        assert (found["exact_match"], found["infeasible"]) == (0.5, 0)
        loss = made().loss_function()
        assert found["loss"] == pytest.approx(
            float(torch.stack([loss(logits[i : i + 1], truth[i : i + 1]) for i in range(4)]).mean())
        )
    nothing = made().evaluation()
    nothing.add(logits, torch.full((4, 3), -100))
    assert np.isnan(nothing.result()["character_error_rate"])
    assert nothing.notes() == {"character_error_rate": "undefined, for no target has a label"}


# --- specs --------------------------------------------------------------------------------------------------------

SPEC = """\
dlx: 1
name: rows
data: {arrays: {path: rows.npz, inputs: {x: x}, targets: {said: said}}}
network: {layers: [LAYERS]}
objective: OBJECTIVE
train: {epochs: 6, batch_size: 10, optimizer: {adam: 0.05}, device: cpu}
track: {mlflow: false}
"""


def spec(folder, objective="ctc", layers="{linear: 4}", repeated=0, shape=(60, 4)):
    """Rows of 5 positions that show 2 or 3 of 3 symbols, one a position; `repeated` targets have 4 of a kind."""
    rng = np.random.default_rng(0)
    y = np.full((60, 4), -100)
    x = 0.1 * rng.normal(size=(60, 5, 4)).astype("float32")
    for i in range(60):
        count = rng.integers(2, 4)
        places = np.sort(rng.permutation(5)[:count])
        y[i, :count] = np.array([[0, 1, 2], [1, 2, 0], [2, 0, 1]])[rng.integers(3), :count]
        x[i, places, y[i, :count] + 1] += 3
    y[3 : 3 + repeated] = 1
    y = y if len(shape) == 2 else y[:, 0]
    np.savez(folder / "rows.npz", x=x[:40], said=y[:40], test_x=x[40:], test_said=y[40:])
    return SPEC.replace("LAYERS", layers).replace("OBJECTIVE", objective)


def test_rows_are_learned_and_a_beam_tells_no_worse(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(spec(tmp_path))
    ends = [list(fit(job_of(prepare(load(path, more)))))[-1].metrics for more in ([], ["objective.ctc.beam=8"])]
    assert ends[0]["test/exact_match"] > 0.9
    assert ends[0]["test/loss"] == ends[1]["test/loss"]
    assert ends[1]["test/exact_match"] > 0.9
    broken = list(fit(job_of(prepare(load(path, ["train.epochs=1", "train.optimizer.adam.lr=1e-12"])))))[-1].metrics
    assert broken["test/exact_match"] < 0.3


def test_infeasible_targets_are_an_error_before_training(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(spec(tmp_path, repeated=2))
    with pytest.raises(SpecError) as error:
        runner.run(load(path), tmp_path / "runs")
    place, message, hint = str(error.value).replace(f"{tmp_path}/", "").splitlines()
    assert place == "s.yaml:5:1  objective.ctc"
    first = "the first, row 4 of the source from 0 on, takes 7: one a label, and one between equal ones"
    assert message == f"  2 targets of 40 of the part `train` cannot be told at 5 positions, {first}"
    assert hint == (
        "  Let the network give more positions (smaller strides), shorten the targets, or leave them out of the "
        "loss: `ctc: {infeasible: leave_out}`."
    )
    assert not (tmp_path / "runs").exists()


def test_they_are_left_out_where_that_is_asked_for_and_told(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(spec(tmp_path, "{ctc: {infeasible: leave_out}}", repeated=2))
    run = runner.run(load(path), tmp_path / "runs").results[0]
    assert run.metrics["train/infeasible"] == pytest.approx(2 / 40)
    assert run.metrics["test/infeasible"] == 0
    assert np.isfinite(run.metrics["train/loss"])
    (note,) = infeasible.notes(prepare(load(path)))
    assert note.startswith("2 targets of 40 of the part `train` cannot be told at 5 positions")
    path.write_text(spec(tmp_path, "{ctc: {infeasible: leave_out}}"))
    assert infeasible.notes(prepare(load(path))) == ()


@pytest.mark.parametrize(
    ("objective", "layers", "shape", "complaint"),
    [
        (
            "ctc",
            "{linear: 3}",
            (60, 4),
            "the network ends in (5, 3), and ctc takes (positions, 4): an output for each",
        ),
        ("ctc", "flatten, {linear: 4}", (60, 4), "the network ends in (4,), and ctc takes (positions, 4)"),
        ("{ctc: {blank: 4}}", "{linear: 4}", (60, 4), "`blank` is 4, and the outputs go from 0 to 3"),
        ("{ctc: {loss: hinge}}", "{linear: 4}", (60, 4), "ctc is learned by the loss `ctc`, and `loss` is hinge"),
        (
            "{ctc: {blank: 1, loss: {ctc: {blank: 2}}}}",
            "{linear: 4}",
            (60, 4),
            "`blank` is 1, and that of the loss 2",
        ),
        ("{ctc: {metrics: [f1]}}", "{linear: 4}", (60, 4), "the metric f1 is not for ctc, which has sequences"),
        ("ctc", "{linear: 4}", (60,), "ctc wants a sequence of labels as the target, and the data has one class an"),
        ("{classification: {loss: ctc}}", "flatten, {linear: 3}", (60,), "the loss ctc wants sequences of labels"),
        ("{sequence_labelling: {loss: ctc}}", "{linear: 3}", (60, 4), "the loss ctc wants one target an example"),
    ],
)
def test_what_does_not_fit_is_told_at_its_place(tmp_path, objective, layers, shape, complaint):
    found = report(tmp_path, spec(tmp_path, objective, layers, shape=shape))
    assert complaint in found
    assert found.startswith("s.yaml:")


def test_the_last_output_may_be_the_blank(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(spec(tmp_path, "{ctc: {blank: 3}}"))
    end = list(fit(job_of(prepare(load(path)))))[-1].metrics
    assert end["test/exact_match"] > 0.9


def test_new_rows_are_answered_by_their_labels_and_the_worst_are_shown(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(spec(tmp_path))
    run = runner.run(load(path), tmp_path / "runs").results[0].run
    x = np.full((2, 5, 4), -1.0, np.float32)
    x[0, [0, 2], [3, 1]], x[0, [1, 3, 4], 0], x[1, :, 0] = 4, 4, 4
    np.save(tmp_path / "new.npy", x)
    told = predict(run, tmp_path / "new.npy")
    assert [told.answers.as_json(i)["labels"] for i in range(2)] == [["2", "0"], []]
    (worst,) = evaluate([run], parts=["test"], closer=Closer(wrong=2)).wrong
    assert worst.titles == ("loss", "true", "predicted")
    assert [len(row[1].split()) in (2, 3) for row in worst.rows] == [True, True]
