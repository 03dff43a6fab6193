"""Texts as bags of words, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from dlx.data import input_record
from dlx.data.python_inputs import read
from dlx.data.tables.bags import TextOptions, fitted_bag
from dlx.data.tables.table import Table
from dlx.errors import DataError

TEXTS = ["The cat sat on the mat", "a cat, a DOG and the mat!", "", "Dogs like cats; cats like dogs", "the the the"]


def table(folder, texts, **fields) -> Table:
    pd.DataFrame({"review": texts, "y": range(len(texts))}).to_csv(folder / "a.csv", index=False)
    return Table(path=folder / "a.csv", target="y", **({"text": ["review"]} | fields))


@pytest.mark.parametrize(
    ("options", "theirs"),
    [
        ({}, CountVectorizer()),
        ({"min_df": 2, "ngram_range": [1, 2]}, CountVectorizer(min_df=2, ngram_range=(1, 2))),
        ({"values": "binary", "max_df": 0.5}, CountVectorizer(binary=True, max_df=0.5)),
        ({"lowercase": False, "token_pattern": r"\w+"}, CountVectorizer(lowercase=False, token_pattern=r"\w+")),  # noqa: S106
        ({"values": "tfidf"}, TfidfVectorizer()),
        ({"values": "tfidf", "min_df": 0.3}, TfidfVectorizer(min_df=0.3)),
    ],
)
def test_a_bag_of_words_is_that_of_scikit_learn(options, theirs):
    vocabulary, bag = fitted_bag(TEXTS, TextOptions(**options), "column")
    expected = theirs.fit_transform(TEXTS).toarray()
    assert list(vocabulary) == list(theirs.get_feature_names_out())
    np.testing.assert_allclose(bag.encode(TEXTS, vocabulary), expected, rtol=1e-15)
    new = ["the dog and a bird", "bird"]
    np.testing.assert_allclose(bag.encode(new, vocabulary), theirs.transform(new).toarray(), rtol=1e-15)


def test_of_equally_frequent_words_the_first_in_the_alphabet_are_taken():
    vocabulary, _ = fitted_bag(["bb bb dd cc aa"], TextOptions(max_features=3), "column")
    assert vocabulary == ("aa", "bb", "cc")


def test_the_vocabulary_is_of_the_training_part_alone(tmp_path):
    source = table(tmp_path, ["red", "red blue", "green", "grey"], split="order", valid=0.25, test=0.25)
    sets = source.load()
    assert source.facts().input == (2,)
    assert sets.reading["columns"][0]["texts"] == ("blue", "red")
    assert (sets.train.x.tolist(), sets.valid.x.tolist(), sets.test.x.tolist()) == (
        [[0, 1], [1, 1]],
        [[0, 0]],
        [[0, 0]],
    )
    assert source.facts().columns[0].because == "`text` names it; 2 words of the training part, counts"


def test_later_inputs_are_read_by_the_words_of_the_run(tmp_path):
    source = table(tmp_path, ["red", "red blue", "blue blue green"], text={"review": {"values": "tfidf"}})
    sets = source.load()
    input_record.save(tmp_path, input_record.of(source, sets, {}))
    record = input_record.load(tmp_path)
    (tmp_path / "b.csv").write_text("review\nblue blue green\nyellow\n")
    x = source.new_inputs(tmp_path / "b.csv", record).x
    np.testing.assert_array_equal(x[0].astype(np.float32), sets.train.x[sets.train.y[:, 0] == 2][0])
    assert x[1].tolist() == [0, 0, 0]
    np.testing.assert_array_equal(source.from_memory(read({"review": ["blue blue green", "yellow"]}), record).x, x)


def test_a_missing_text_has_an_input_of_its_own_or_is_refused(tmp_path):
    texts = ["red", None, "red blue"]
    sets = table(tmp_path, texts, missing="category", split="order").load()
    assert sets.train.x.tolist() == [[0, 1, 0], [0, 0, 1], [1, 1, 0]]
    for missing, sentence in [
        ("refuse", "values are missing in .*first in row 2 of column `review`"),
        ("mean", "`missing: mean` fills in values, and column `review` of .* becomes a bag of words"),
    ]:
        with pytest.raises(DataError, match=sentence):
            table(tmp_path, texts, missing=missing).load()


@pytest.mark.parametrize(
    ("texts", "fields", "sentence"),
    [
        (["!", "?!"], {}, "column `review` of a.csv gives no bag of words in the training part: it has no words"),
        (
            ["red", "blue"],
            {"text": {"review": {"min_df": 2}}},
            (
                "column `review` of a.csv gives no bag of words in the training part: of 2 words, none is in "
                "at least 2 and at most 2 texts"
            ),
        ),
        (["red"], {"text": ["y"]}, "`text` names `y` of a.csv, which is no input"),
        (["red"], {"text": ["revew"]}, "a.csv has no column `revew`, which `text` names"),
    ],
)
def test_texts_that_give_no_bag(tmp_path, texts, fields, sentence):
    with pytest.raises(DataError) as raised:
        table(tmp_path, texts, **fields).load()
    assert raised.value.problems[0].message.replace(f"{tmp_path}/", "") == sentence


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"token_pattern": "("}, "`token_pattern` ( is no regular expression: "),
        ({"token_pattern": "(a)(b)"}, "`token_pattern` (a)(b) has 2 groups, and one is a word: write `(?:...)`"),
        ({"ngram_range": [2, 1]}, "`ngram_range` runs from 2 to 1: give the smaller number first"),
    ],
)
def test_options_that_are_none(options, sentence):
    with pytest.raises(ValidationError) as raised:
        TextOptions(**options)
    assert raised.value.errors()[0]["msg"].startswith(f"Value error, {sentence}")
