"""Masked language models: which tokens are hidden, their loss, and the small BERT of the zoo against exact ones."""

import csv
import runpy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import ROOT, SHIPPED

from dlx.errors import SpecError
from dlx.experiment import runner
from dlx.objectives import OBJECTIVES
from dlx.spec import load

KIND = OBJECTIVES["masked_language"]
MASK, VOCABULARY = 3, 20


class Told:
    """A field that is a text."""

    class text:  # noqa: N801 - stands for the field's facts
        names = ("<padding>", "<begin>", "<end>", "<mask>", *"abcdefghijklmnop")
        vocabulary = VOCABULARY


def objective(**options):
    return KIND.model_validate(options).informed({"text": Told}, {})


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_shares_are_those_of_the_paper_and_special_tokens_are_never_chosen():
    x = torch.randint(0, VOCABULARY, (400, 100), generator=generator(1))
    given, chosen = objective().hidden(x, generator())
    words = x > MASK
    assert not chosen[~words].any()
    assert torch.equal(given[~chosen], x[~chosen])
    count = int(chosen.sum())
    assert count / int(words.sum()) == pytest.approx(0.15, abs=0.01)
    hidden, same = (given == MASK) & chosen, (given == x) & chosen
    assert int(hidden.sum()) / count == pytest.approx(0.8, abs=0.02)
    assert int(same.sum()) / count == pytest.approx(0.1 + 0.1 / 16, abs=0.02)
    drawn = given[chosen & ~hidden & ~same]
    assert drawn.unique().tolist() == list(range(MASK + 1, VOCABULARY))


def test_parameters_change_the_shares():
    x = torch.randint(MASK + 1, VOCABULARY, (200, 100), generator=generator(1))
    given, chosen = objective(share=0.5, masked=0, random=0).hidden(x, generator())
    assert torch.equal(given, x)
    assert float(chosen.float().mean()) == pytest.approx(0.5, abs=0.02)
    given, chosen = objective(share=1, masked=1, random=0).hidden(x, generator())
    assert (given == MASK).all()
    assert chosen.all()


def test_loss_and_metrics_are_of_the_hidden_tokens_alone():
    from dlx.data.batch import Batch

    x = torch.randint(0, VOCABULARY, (6, 9), generator=generator(1))
    logits = torch.randn(6, 9, VOCABULARY, generator=generator(2))
    seen = []

    def call(name, given):
        seen.append(given)
        return logits

    one, batch = objective(share=0.4), Batch({"text": x})
    given, chosen = one.hidden(x, generator())
    by_hand = F.cross_entropy(logits[chosen], x[chosen])
    (loss,) = one.terms("train", call, batch, generator()).values()
    torch.testing.assert_close(loss, by_hand)
    found = one.evaluate(call, batch, generator())
    torch.testing.assert_close(found["loss"][0], by_hand)
    torch.testing.assert_close(found["accuracy"][0], (logits[chosen].argmax(-1) == x[chosen]).float().mean())
    assert {int(count) for _, count in found.values()} == {int(chosen.sum())}
    assert all(torch.equal(one, given) for one in seen)
    assert one.measured({"loss": 2.0, "accuracy": 0.5})["perplexity"] == pytest.approx(np.exp(2))


def test_a_batch_without_a_hidden_token_has_a_loss_of_zero():
    from dlx.data.batch import Batch

    x = torch.zeros(2, 4, dtype=torch.long)
    (loss,) = (
        objective().terms("train", lambda *_: torch.zeros(2, 4, VOCABULARY), Batch({"text": x}), generator()).values()
    )
    assert float(loss) == 0


SPEC = """
dlx: 1
name: a
data: {text: {path: a.csv, column: line, window: 8, documents: pad, mask: true, valid: 10}}
network:
  layers:
    - embedding: {embedding_dim: 8}
    - gru: {hidden_size: 8, bidirectional: true}
    - linear: "${data.vocabulary}"
objective: masked_language
train: {steps: 4, batch_size: 4, evaluate_every: 2, log_every: 1, device: cpu, optimizer: {sgd: {lr: 0}}}
track: {mlflow: false}
"""


@pytest.fixture
def spec(tmp_path):
    (tmp_path / "a.csv").write_text("line\n" + "\n".join(["abcde", "bcd", "deabc"] * 20) + "\n")
    file = tmp_path / "a.yaml"
    file.write_text(SPEC)
    return file


def test_masks_are_drawn_anew_in_training_and_are_the_same_in_each_evaluation(spec):
    """The weights stand still, and so only what is hidden changes."""
    result = runner.run(load(spec), spec.parent / "runs").results[0]
    metrics = [record["metrics"] for record in result.run.records() if "metrics" in record]
    evaluated = [one["valid/loss"] for one in metrics if "valid/loss" in one]
    assert len(evaluated) > 1
    assert len(set(evaluated)) == 1
    steps = [one["train/train/cross_entropy"] for one in metrics if "train/train/cross_entropy" in one]
    assert len(set(steps)) == len(steps) == 4


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("data.text.mask=false", "masked_language hides tokens of `text`, and the data has no `<mask>` to put there"),
        ("data.text={content: abcabcabc, window: 4}", "the data has no `<mask>` to put there"),
        (
            "network.layers.linear_1.out_features=7",
            "the network `network` ends in (8, 7), and masked_language takes (8, 9)",
        ),
        ("objective={masked_language: {masked: 0.8, random: 0.3}}", "`masked` 0.8 and `random` 0.3 add up to 1.1"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(spec, change, sentence):
    with pytest.raises(SpecError) as refused:
        runner.prepare(load(spec, [change]))
    assert sentence in str(refused.value)


# --- the small BERT of the zoo --------------------------------------------------------------------------------------

NAME = "zoo/masked-months"
MADE = runpy.run_path(str(ROOT / "specs" / "zoo" / "data" / "months.py"))
MONTHS, STEPS = MADE["MONTHS"], MADE["STEPS"]


def walks():
    with (ROOT / "specs" / "zoo" / "data" / "months.csv").open() as file:
        return [[MONTHS.index(word) for word in line["sentence"].split()] for line in csv.DictReader(file)]


def test_the_walks_are_those_that_the_script_makes():
    assert walks() == MADE["sentences"](1200, 0)


def exact_perplexity(sides, repeats=4):
    """The perplexity of the hidden months of the test part by their exact posterior: forward and backward
    probabilities of a walk of which 15 % are hidden, drawn anew or kept, as the objective does it.
    """
    share, masked, drawn, n = 0.15, 0.8, 0.1, len(MONTHS)
    moves = sum(np.roll(np.eye(n), step, 1) for step in STEPS) / len(STEPS)
    rng, nats = np.random.default_rng(1), []

    def likelihood(seen, is_chosen):
        if seen < 0:
            return np.full(n, masked)
        chosen = np.full(n, drawn / n)
        chosen[seen] += 1 - masked - drawn
        return chosen if is_chosen else share * chosen + (1 - share) * (np.arange(n) == seen)

    for walk in [np.array(one) for one in walks()[-300:]] * repeats:
        u = rng.random((2, len(walk)))
        others = np.where(u[1] < masked + drawn, rng.integers(0, n, len(walk)), walk)
        chosen = u[0] < share
        seen = np.where(chosen, np.where(u[1] < masked, -1, others), walk)
        for t in np.flatnonzero(chosen):
            before, behind = np.full(n, 1 / n), np.ones(n)
            for one in seen[:t]:
                before = (before * likelihood(one, False)) @ moves
                before /= before.sum()
            for one in seen[:t:-1]:
                behind = moves @ (behind * likelihood(one, False))
                behind /= behind.sum()
            found = (
                likelihood(seen[t], True) * (before if "left" in sides else 1) * (behind if "right" in sides else 1)
            )
            nats.append(-np.log(found[walk[t]] / found.sum()))
    return np.exp(np.mean(nats)), np.std(nats) / np.sqrt(len(nats) / repeats)


def trained(folder, *changes):
    return (
        runner.run(load(SHIPPED[NAME], [*changes, "~expect"]), folder / "runs").results[0].metrics["test/perplexity"]
    )


def test_one_side_says_less_than_both_by_the_exact_posterior():
    both, error = exact_perplexity(["left", "right"])
    left, _ = exact_perplexity(["left"], 1)
    right, _ = exact_perplexity(["right"], 1)
    assert both == pytest.approx(2.112, abs=0.01)
    assert min(left, right) > 3.1
    assert both * np.exp(-2 * error) == pytest.approx(2.01, abs=0.02)


@pytest.mark.slow
def test_the_small_bert_uses_both_sides_and_its_twin_that_looks_back_cannot(tmp_path):
    both, error = exact_perplexity(["left", "right"])
    found = trained(tmp_path)
    assert both * np.exp(-2 * error) < found < 2.6
    left, error = exact_perplexity(["left"], 1)
    cut = "blocks.layer.layers.0.residual.layers.1.multihead_attention"
    assert trained(tmp_path, f"+{cut}.is_causal=true") > left * np.exp(-2 * error)
