"""Changes of texts: what becomes of tokens and of what is to be told, how often, and in a training."""

from __future__ import annotations

import json

import pytest
import torch
from helpers import experiment_of

from dlx.augment import AUGMENTATIONS
from dlx.augment.pipeline import TrainingSetInfo, pipeline
from dlx.augment.tokens import OfTokens, Vocabulary
from dlx.errors import SpecError
from dlx.experiment import runner
from dlx.experiment.recorder import RunRecorder
from dlx.experiment.session import Session, new_run, train_run
from dlx.training.prepared import prepare

NAMES = ("the", "quick", "fast", "rapid", "fox", "<unk>")
KINDS = sorted(kind for kind in AUGMENTATIONS if issubclass(AUGMENTATIONS[kind], OfTokens))
OPTIONS = {"synonyms": {"by": {"quick": ["fast", "rapid"]}}}


def changed(kind: str, x: torch.Tensor, y: torch.Tensor, *, tells_next: bool = True, **options: object):
    step = AUGMENTATIONS[kind](**{**OPTIONS.get(kind, {}), **options})
    torch.manual_seed(0)
    return pipeline([step], TrainingSetInfo(lambda: x, vocabulary=Vocabulary(NAMES, 5, tells_next)))(x, y)


def texts(count: int = 400, length: int = 9, size: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and the token behind each, of texts that count up: a token tells the next one."""
    text = (torch.arange(length + 1) + torch.arange(count)[:, None]) % size
    return text[:, :-1], text[:, 1:]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_changes_with_a_probability_of_zero_and_shapes_stay(kind):
    x, y = texts()
    assert all(torch.equal(a, b) for a, b in zip(changed(kind, x, y, p=0.0), (x, y), strict=True))
    new_x, new_y = changed(kind, x, y, p=0.5)
    assert new_x.shape == x.shape
    assert new_y.shape == y.shape
    assert not torch.equal(new_x, x)
    assert new_x.dtype == new_y.dtype == torch.long
    assert 0 <= int(new_x.min()) <= int(new_x.max()) < len(NAMES)


@pytest.mark.parametrize("kind", ["token_noise", "token_dropout", "synonyms"])
def test_replaced_tokens_leave_what_is_to_be_told(kind):
    x, y = texts()
    assert torch.equal(changed(kind, x, y, p=0.5)[1], y)


def test_dropout_puts_the_unknown_token_in_as_many_places_as_asked_for():
    x, y = texts(2000)
    found, _ = changed("token_dropout", x, y, p=0.3)
    assert (found == 5).double().mean() == pytest.approx(0.3, abs=0.02)
    assert torch.equal(found[found != 5], x[found != 5])


def test_noise_draws_tokens_as_often_as_the_batch_has_them():
    """Of three quarters token 0 and a quarter token 1, half of all places drawn anew: 1/8 of the zeros become one."""
    x = torch.tensor([[0, 0, 0, 1]]).repeat(2000, 3)
    found, _ = changed("token_noise", x, x, p=0.5)
    assert (found[x == 0] == 1).double().mean() == pytest.approx(1 / 8, abs=0.02)


def test_synonyms_are_each_as_likely_and_others_stay():
    x = torch.tensor([[0, 1, 4]]).repeat(3000, 1)
    found, _ = changed("synonyms", x, x, p=0.5)
    assert [(found[:, 1] == token).double().mean().item() for token in (1, 2, 3)] == pytest.approx(
        [0.5, 0.25, 0.25], abs=0.03
    )
    assert torch.equal(found[:, [0, 2]], x[:, [0, 2]])


def test_what_is_deleted_is_not_told_and_the_rest_moves_up():
    """A text that counts up in a vocabulary as large as itself: what is left counts up, with gaps."""
    step = AUGMENTATIONS["token_deletion"](p=0.4)
    x = torch.arange(9).repeat(300, 1)
    torch.manual_seed(1)
    change = pipeline([step], TrainingSetInfo(lambda: x, vocabulary=Vocabulary(NAMES, None, tells_next=True)))
    new, told = change(x, x + 1)
    for tokens, targets in zip(new.tolist(), told.tolist(), strict=True):
        there = [one for one in targets if one >= 0]
        assert targets == there + [-100] * (9 - len(there))  # what is left over stands at the end
        whole = tokens[: len(there)] + there[-1:]
        assert whole == sorted(set(whole))
        assert tokens[1 : len(there)] == there[:-1]
    assert (told >= 0).sum(1).double().mean() + 1 == pytest.approx(10 * 0.6, abs=0.15)


def test_every_token_may_be_drawn_for_deletion_and_one_stays():
    x, y = texts(50)
    new, told = changed("token_deletion", x, y, p=1.0)
    assert torch.equal(new[:, 0], x[:, 0])
    assert (told == -100).all()


@pytest.mark.parametrize("pairs", ["any", "neighbours"])
def test_swaps_keep_the_tokens_and_the_next_one_is_told(pairs):
    x = torch.arange(10).repeat(500, 1)
    new, told = changed("token_swap", x[:, :9], x[:, 1:10], p=0.5, pairs=pairs)
    whole = torch.cat((new, told[:, -1:]), 1)
    assert torch.equal(whole.sort(1).values, x)
    assert torch.equal(new[:, 1:], told[:, :-1])
    moved = (whole != x).double().mean().item()
    assert moved == pytest.approx(0.5 if pairs == "any" else 0.45, abs=0.04)  # at an end some have no neighbour
    assert (whole - x).abs().max() <= (9 if pairs == "any" else 1)


def test_targets_at_positions_move_along_where_they_are_no_next_tokens():
    x = torch.arange(10).repeat(200, 1)
    new, told = changed("token_swap", x, x * 7, tells_next=False, p=0.8)
    assert torch.equal(told, new * 7)
    assert not torch.equal(new, x)


def test_nothing_is_told_from_behind_the_end_of_a_document():
    x, y = torch.tensor([[1, 2, 3, 0, 0]]).repeat(300, 1), torch.tensor([[2, 3, -100, -100, -100]]).repeat(300, 1)
    new, told = changed("token_swap", x, y, p=0.9)
    rows = torch.cat((new[:, :1], told), 1)
    for row, targets in zip(new.tolist(), told.tolist(), strict=True):
        pairs = [(a, b) for a, b in zip(row, targets, strict=True) if b != -100]
        assert all(a in (1, 2, 3) and b in (1, 2, 3) for a, b in pairs)
    assert rows.shape == (300, 6)


# --- in a training --------------------------------------------------------------------------------------------------

CONTENT = "".join("abcdefgh "[(i * i + i // 7) % 9] for i in range(300))
SPEC = """
dlx: 1
name: noisy
data: {text: {content: CONTENT, window: 8, valid: 60, unknown: token, carry: CARRY}}
network: {layers: [{embedding: {embedding_dim: 8}}, {lstm: 8}, {linear: "${data.vocabulary}"}]}
objective: language
train: {steps: 30, batch_size: 4, save_every: 5, augment: AUGMENT}
track: {mlflow: false}
"""
ALL = "[token_noise, token_dropout, {synonyms: {by: {a: [b, c]}}}, token_swap, token_deletion]"


def spec(augment: str, carry: str = "false"):
    text = SPEC.replace("CONTENT", json.dumps(CONTENT)).replace("AUGMENT", augment).replace("CARRY", carry)
    return experiment_of(text)


def test_a_training_takes_them_all_and_goes_on_to_the_same_bits(tmp_path):
    prepared = prepare(spec(ALL))
    folders = [new_run(prepared, tmp_path) for _ in range(3)]
    train_run(RunRecorder(folders[0]), prepared, Session())
    train_run(RunRecorder(folders[1]), prepared, Session(until=13))
    runner.resume(folders[1])
    plain = prepare(spec("[]"))
    train_run(RunRecorder(folders[2]), plain, Session())
    whole, resumed, without = [(one.dir / "checkpoints" / "final.safetensors").read_bytes() for one in folders]
    assert whole == resumed
    assert whole != without


def test_an_evaluation_sees_the_texts_as_they_are(tmp_path):
    """With all tokens dropped in training nothing is learned of them, and the metrics are of whole texts."""
    one, other = (
        runner.run(spec(augment), tmp_path).results[0].metrics for augment in ("[{token_dropout: 1}]", "[]")
    )
    assert one["valid/loss"] > other["valid/loss"]


@pytest.mark.parametrize(
    ("augment", "carry", "says"),
    [
        ("[token_swap]", "true", "token_swap changes each window by itself, and `carry: true` goes on"),
        ("[{synonyms: {by: {a: [b, xy]}}}]", "false", "synonyms has `xy`, which the vocabulary has not"),
        ("[gaussian_noise]", "false", "gaussian_noise changes floats"),
    ],
)
def test_what_does_not_fit_is_told_before_training(tmp_path, augment, carry, says):
    with pytest.raises(SpecError, match=says):
        runner.run(spec(augment, carry), tmp_path)


def test_dropout_wants_a_token_for_what_is_unknown(tmp_path):
    text = (
        SPEC.replace("CONTENT", json.dumps(CONTENT)).replace("AUGMENT", "[token_dropout]").replace("CARRY", "false")
    )
    with pytest.raises(SpecError, match="token_dropout puts the token of unknown text in place of others"):
        runner.run(experiment_of(text.replace("unknown: token", "unknown: error")), tmp_path)


def test_pictures_have_no_tokens(tmp_path):
    digits = "dlx: 1\ndata: digits\nnetwork: {layers: [flatten, {linear: 10}]}\n"
    with pytest.raises(SpecError, match="token_swap changes the tokens of a text, and"):
        runner.run(experiment_of(f"{digits}train: {{epochs: 1, augment: [token_swap]}}\n"), tmp_path)
