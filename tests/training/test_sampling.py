"""`train.sampling`: examples drawn with replacement by class or by their weights."""

from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch.utils.data import WeightedRandomSampler

from dlx.errors import SpecError
from dlx.experiment import runner
from dlx.spec import load
from dlx.spec.sections.train import Train
from dlx.training.batches import sampling
from dlx.training.batches.example_order import Examples
from dlx.training.batches.prefetch import streamed
from dlx.training.fit import Job
from dlx.training.prepared import prepare

WEIGHTS = [0.0, 1.0, 2.0, 0.5, 0.0, 4.0, 1.5, 0.0]
DRAWS = 40_000


def rare_spec(folder: Path, train: str = "", data: str = "weights: trust, ", layers: str = "{linear: 1}") -> Path:
    """A table of two classes, one of them 3 % of the rows, whose inputs overlap; `trust` is 0 for a third of them."""
    rng = np.random.default_rng(0)
    rare = rng.random(1000) < 0.03
    x = rng.normal(size=(1000, 2)) + 1.5 * rare[:, None]
    part = np.where(np.arange(1000) < 600, "train", "test")
    rows = zip(x, rare, np.arange(1000) % 3, part, strict=True)
    lines = [f"{a:.4f},{b:.4f},{'yes' if r else 'no'},{w},{p}" for (a, b), r, w, p in rows]
    (folder / "rare.csv").write_text("\n".join(["a,b,rare,trust,part", *lines]) + "\n")
    path = folder / "rare.yaml"
    path.write_text(
        dedent(
            f"""\
            dlx: 1
            name: rare
            data: {{table: {{path: rare.csv, target: rare, task: classification, {data}split: {{by: part}}}}}}
            network: {{layers: [{layers}]}}
            objective: {{binary_classification: {{metrics: [recall]}}}}
            train: {{epochs: 15, batch_size: 32, optimizer: {{adam: 0.03}}{train}}}
            track: {{mlflow: false}}
            """
        )
    )
    return path


def feed_of(path: Path, *changes: str) -> Examples:
    from dlx.experiment.session import job_of

    feed = job_of(prepare(load(path, changes))).feed
    assert isinstance(feed, Examples)
    return feed


def counts_of(feed: Examples, epochs: int) -> torch.Tensor:
    """How often each example is drawn in some epochs."""
    total = torch.zeros(len(feed.part), dtype=torch.long)
    for _ in range(epochs):
        feed.begin()
        total += feed.order.bincount(minlength=len(total))
        feed.position = feed.updates
        feed.end()
    return total


# --- the draw ------------------------------------------------------------------------------------------------------


def test_draws_are_distributed_as_those_of_torchs_sampler():
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)
    ours = sampling.draw(weights, DRAWS, torch.Generator().manual_seed(1)).bincount(minlength=8)
    theirs = torch.tensor(
        list(WeightedRandomSampler(WEIGHTS, DRAWS, generator=torch.Generator().manual_seed(2)))
    ).bincount(minlength=8)
    there = weights > 0
    assert not ours[~there].any()
    assert not theirs[~there].any()
    expected = (weights[there] / weights.sum() * DRAWS).numpy()
    assert chisquare(ours[there].numpy(), expected).pvalue > 0.01
    assert chisquare(theirs[there].numpy(), expected).pvalue > 0.01
    even = torch.full((int(there.sum()),), DRAWS / int(there.sum())).numpy()
    assert chisquare(ours[there].numpy(), even).pvalue < 1e-100  # weights that are left out are found


def test_a_product_that_is_rounded_up_to_the_sum_takes_the_last_example_that_can_be_drawn(monkeypatch):
    monkeypatch.setattr(sampling.torch, "rand", lambda count, **_: torch.ones(count, dtype=torch.float64))
    assert sampling.draw(torch.tensor([1.0, 2.0, 0.0], dtype=torch.float64), 2, None).tolist() == [1, 1]


# --- by class ------------------------------------------------------------------------------------------------------


def test_each_class_is_drawn_equally_often_and_an_epoch_stays_as_long(tmp_path):
    path = rare_spec(tmp_path, data="")
    feed = feed_of(path, "+train.sampling=balanced")
    counts, labels = counts_of(feed, 30), feed.part.y
    by_class = torch.stack([counts[labels == k].sum() for k in (0, 1)])
    assert counts.sum() == 30 * 600
    assert chisquare(by_class.numpy()).pvalue > 0.01
    plain = counts_of(feed_of(path), 30)
    assert plain.tolist() == [30] * 600  # without it each example once an epoch
    of_class = counts[labels == 1]
    assert chisquare(of_class.numpy()).pvalue > 0.01  # examples of one class are alike


def test_a_rare_class_is_recalled_and_without_balance_it_is_not(tmp_path):
    path = rare_spec(tmp_path, data="")
    recall = {}
    for how in ("null", "balanced"):
        (result,) = runner.run(load(path, [f"+train.sampling={how}"]), tmp_path / how).results
        recall[how] = result.metrics["test/recall"]
    assert recall["balanced"] > 0.6
    assert recall["null"] < 0.2


def test_each_fold_draws_by_the_classes_of_its_own_training_part(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(
        "data: {digits: {test: 0.2, folds: 3, classes: [0, 1, 2]}}\nnetwork: {layers: [flatten, {linear: 3}]}\n"
        "train: {epochs: 1, sampling: balanced}\n"
    )
    seen = set()
    for fold in (1, 2, 3):
        feed = feed_of(path, f"+data.digits.fold={fold}")
        labels = feed.part.fields["target"]
        counts = labels.bincount()
        drawn = torch.bincount(labels.repeat_interleave(counts_of(feed, 100)), minlength=3) / (100 * len(labels))
        torch.testing.assert_close(drawn, torch.full((3,), 1 / 3), atol=0.02, rtol=0)
        seen.add(tuple(counts.tolist()))
    assert len(seen) > 1  # the folds do not have the same counts


def test_the_classes_of_a_bootstrap_sample_are_balanced_within_it(tmp_path):
    feed = feed_of(rare_spec(tmp_path, data=""), "+train.sampling=balanced", "+train.bootstrap=true")
    counts, labels = counts_of(feed, 30), feed.part.y
    by_class = torch.stack([counts[labels == k].sum() for k in (0, 1)])
    assert chisquare(by_class.numpy()).pvalue > 0.01
    assert set(counts.nonzero()[:, 0].tolist()) <= set(feed.bootstrap_indices.tolist())


def test_a_part_on_disk_is_drawn_alike(tmp_path):
    from dlx.data import Split
    from dlx.data.base import Facts
    from dlx.objectives import default_objective

    labels = np.array([0] * 90 + [1] * 10)
    split = Split(np.arange(200, dtype=np.float32).reshape(100, 2), labels)
    train = Train.model_validate({"steps": 10, "batch_size": 10, "sampling": {"by": "balanced"}})
    objective = default_objective(Facts((2,), 2))
    feed = Examples(streamed(split, torch.device("cpu")), train, objective)
    feed.begin()
    batches = [feed.batch(feed.next_indices(1)[0]) for feed.position in range(10)]
    assert torch.equal(torch.cat([b.y for b in batches]), torch.from_numpy(labels)[feed.order])
    assert 30 < sum(int(b.y.sum()) for b in batches) < 70


# --- by weights ----------------------------------------------------------------------------------------------------


def test_weights_say_how_often_and_no_longer_how_much(tmp_path):
    path = rare_spec(tmp_path)
    feed = feed_of(path, "+train.sampling=weights")
    counts, trust = counts_of(feed, 30), torch.arange(600) % 3
    assert not counts[trust == 0].any()
    drawn = torch.stack([counts[trust == k].sum() for k in (1, 2)])
    assert chisquare(drawn.numpy(), np.array([1, 2]) * 6000).pvalue > 0.01
    assert "weight" not in feed.batch(torch.tensor([0, 1])).fields
    assert "weight" in feed_of(path).batch(torch.tensor([0, 1])).fields


def test_the_loss_of_a_step_is_the_plain_mean_of_what_was_drawn(tmp_path):
    from dlx.experiment.session import job_of
    from dlx.training.supervised import gradients_of

    def losses(*changes: str) -> tuple[float, float]:
        job: Job = job_of(prepare(load(rare_spec(tmp_path), changes)))
        index = torch.tensor([1, 2, 4, 5, 7])
        batch = job.parts["train"].take(index)
        logits = job.network(*batch.inputs)[:, 0]
        plain = torch.nn.functional.binary_cross_entropy_with_logits(logits, batch.y.float())
        return float(gradients_of(job.supervised)(index)), plain.item()

    ours, plain = losses("+train.sampling=weights")
    assert ours == pytest.approx(plain, rel=1e-6)
    weighted, plain = losses()
    assert weighted != pytest.approx(plain, rel=1e-3)


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "objective", "train", "sentence"),
    [
        ("target: price", "regression", "sampling: balanced", "and regression has `target`: values of shape (1,)"),
        (
            "target: [sold, big]",
            "multilabel",
            "sampling: balanced",
            "and multilabel has `target`: values of shape (2,)",
        ),
        ("target: price", "regression", "sampling: weights", "the data names none"),
        (
            "targets: {kind: classes, town: classes}",
            "{kind: classification, town: classification}",
            "sampling: balanced",
            "is by one target, and 2 are classes: `kind`, `town`",
        ),
        (
            "targets: {kind: classes, price: values}",
            "{kind: classification, price: regression}",
            "sampling: {by: balanced, target: price}",
            "and the target `price` has values of shape (1,)",
        ),
        (
            "targets: {kind: classes, price: values}",
            "{kind: classification, price: regression}",
            "sampling: {by: balanced, target: kinds}",
            "names the target `kinds`, and the data has `kind`, `price`",
        ),
        ("target: kind", "classification", "sampling: balanced, shuffle: false", "takes them as they lie: drop one"),
        ("target: kind", "classification", "sampling: balanced, batch_size: all", "draws examples of it"),
        ("target: kind", "classification", "sampling: balanced, optimizer: lbfgs", "lbfgs takes the whole"),
        ("target: kind", "classification", "sampling: {by: weights, target: kind}", "drop one"),
        ("target: kind", "classification", "sampling: often", 'must be "balanced" or "weights"'),
    ],
)
def test_what_cannot_be_drawn_is_said_before_training(tmp_path, data, objective, train, sentence):
    rows = [f"{i},{i % 7},{'abc'[i % 3]},{'xy'[i % 2]},{i % 2},{i % 2}" for i in range(30)]
    (tmp_path / "t.csv").write_text("\n".join(["size,price,kind,town,sold,big", *rows]) + "\n")
    heads = objective.startswith("{")
    out = "outputs: {kind: kind, %s}" % ("town: town" if "town" in objective else "price: price")
    other = "{linear: 2, name: town, from: h}" if "town" in objective else "{linear: 1, name: price, from: h}"
    layers = f"[{{linear: 4, name: h}}, {{linear: 3, name: kind, from: h}}, {other}]"
    size = {"regression": 1, "multilabel": 2}.get(objective, 3)
    network = f"{{layers: {layers}, {out}}}" if heads else f"{{layers: [{{linear: {size}}}]}}"
    (tmp_path / "s.yaml").write_text(
        f"dlx: 1\ndata: {{table: {{path: t.csv, inputs: {{x: {{columns: [size]}}}}, {data}}}}}\n"
        f"network: {network}\nobjective: {objective}\ntrain: {{epochs: 1, {train}}}\n"
    )
    with pytest.raises(SpecError) as refused:
        prepare(load(tmp_path / "s.yaml"))
    found = [p for p in refused.value.problems if sentence in p.message]
    assert found, [str(p.message) for p in refused.value.problems]
    assert found[0].mark is not None


def test_a_class_without_an_example_is_named(tmp_path):
    path = rare_spec(tmp_path, data="")
    rows = (tmp_path / "rare.csv").read_text().splitlines()
    kept = [row for row in rows if not (",yes," in row and row.endswith("train"))]
    (tmp_path / "rare.csv").write_text("\n".join(kept) + "\n")
    with pytest.raises(SpecError, match=r"1 class of 2 has no example in the part `train`: 1"):
        prepare(load(path, ["+train.sampling=balanced"]))


# --- seeds, resume -------------------------------------------------------------------------------------------------


def test_the_draw_is_that_of_the_seed_and_goes_on_within_an_epoch(tmp_path):
    path = rare_spec(tmp_path, data="")
    first, again, other = (feed_of(path, "+train.sampling=balanced", f"+train.seed={seed}") for seed in (0, 0, 1))
    for feed in (first, again, other):
        feed.begin()
    assert torch.equal(first.order, again.order)
    assert not torch.equal(first.order, other.order)
    first.position = 4
    saved = first.state()
    other.load(saved)
    other.begin()
    assert torch.equal(other.order, first.order)
    first.position = other.position = first.updates
    for feed in (first, other):
        feed.end()
        feed.begin()
    assert torch.equal(other.order, first.order)


def test_seeds_side_by_side_draw_what_each_draws_alone(tmp_path, monkeypatch):
    orders: dict[int, list[torch.Tensor]] = {}
    plain = Examples.begin

    def begin(self):
        plain(self)
        orders.setdefault(self.train.seed, []).append(self.order)

    monkeypatch.setattr(Examples, "begin", begin)
    path = rare_spec(tmp_path, data="", layers="{linear: 4}, relu, {linear: 1}")
    changes = ["+train.sampling=balanced", "train.epochs=2"]
    together = runner.run(load(path, [*changes, "+train.seeds=2"]), tmp_path / "a").results
    assert all(one.run.lock()["packed"] for one in together)
    side_by_side, orders = orders, {}
    alone = [runner.run(load(path, [*changes, f"+train.seed={s}"]), tmp_path / "b").results[0] for s in (0, 1)]
    for seed in (0, 1):
        assert all(torch.equal(a, b) for a, b in zip(side_by_side[seed], orders[seed], strict=True))
        assert together[seed].metrics == pytest.approx(alone[seed].metrics, rel=1e-4)
