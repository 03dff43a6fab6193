"""Conditions on runs: what they mean, and the sentence where one cannot be read."""

from math import inf, nan

import pytest

from dlx.errors import DlxError
from dlx.runs.filters import full_key, parse

RUN = {"valid/error": 0.05, "valid/loss": nan, "train.optimizer.adam.lr": 0.01, "name": "wide", "seed": 3}
RUN |= {"started": "2026-11-30 02:02:11", "train.augment": "[flip]", "tags.keep": "", "test/loss": inf}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("valid/error < 0.1", True),
        ("valid/error<0.05", False),
        ("valid/error <= 5e-2 and seed = 3", True),
        ("error > 0.1 or name = wide", True),
        ("name = wide and error > 0.1 or seed = 3", True),  # `and` binds first
        ("name = wide and (error > 0.1 or seed = 4)", False),
        ("not name = wide", False),
        ("not (seed != 3)", True),
        ("lr == 0.01", True),
        ("name != 'wide'", False),
        ('name ~ "id"', True),
        ("augment ~ flip", True),
        ("started > 2026-11-29", True),
        ("started > 2026-12", False),
        ("valid/loss = nan", True),
        ("valid/loss < 1", False),
        ("test/loss = inf", True),
        ("keep", True),
        ("not tags.keep", False),
        ("name < 3", False),
        ("seed = three", False),
    ],
)
def test_a_condition_means_what_it_says(text, holds):
    assert parse(text, RUN).condition(RUN) is holds


def test_a_run_without_the_key_fulfils_no_comparison_of_it():
    assert not parse("seed != 4", RUN).condition({"name": "narrow"})
    assert parse("not seed = 4", RUN).condition({"name": "narrow"})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "a key is missing at its end"),
        ("valid/error <", "a value is missing at its end"),
        ("valid/error < < 1", "a value is missing at character 15: `<`"),
        ("valid/error 0.1", "`and` or `or` is missing at character 13: `0.1`"),
        ("(seed = 3", r"`\)` is missing at its end"),
        ("seed = 3)", r"`and` or `or` is missing at character 9: `\)`"),
        ("seed = 3 and", "a key is missing at its end"),
        ("seed = 'x", "cannot be read from character 8 on: `'x`"),
        ("valid/eror < 1", "no run has `valid/eror`, which `--filter` names\n  Did you mean `valid/error`"),
        ("loss < 1", "`loss` of `--filter` may be any of test/loss, valid/loss"),
        ("__import__('os')", "no run has `__import__`"),
        ("not " * 60 + "seed", "is nested deeper than 50 levels"),
        ("(" * 60 + "seed" + ")" * 60, "is nested deeper than 50 levels"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(text, sentence):
    with pytest.raises(DlxError, match=sentence):
        parse(text, RUN)


def test_an_end_of_a_key_is_enough_where_it_is_one_key_s():
    assert full_key("adam.lr", RUN, "--sort") == "train.optimizer.adam.lr"
    assert full_key("started", RUN, "--sort") == "started"
