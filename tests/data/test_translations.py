"""Generated sentences in three languages: the grammar, what is held out, and what a table of words makes of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest

from dlx.data.generated.translations import (
    ADJECTIVES,
    NOUNS,
    VERBS,
    Language,
    Phrase,
    Sentence,
    Translations,
    vocabulary,
)
from dlx.errors import SpecError
from dlx.graph import trace
from dlx.spec import load

SOME = Sentence(Phrase(0, 5, 0), 0, True, Phrase(1, 7, 1))
CHAIN = {"from": "portuguese", "to": "spanish", "pairs": [["portuguese", "english"], ["english", "spanish"]]}


def data(**fields: object) -> Translations:
    return Translations.model_validate({"train": 400, "test": 200, **fields})


def test_sentences_are_those_of_the_languages():
    assert SOME.text("english") == "the red flower does not see this old bridge"
    assert SOME.text("spanish") == "la flor roja no ve este puente viejo"
    assert SOME.text("portuguese") == "a flor vermelha não vê esta ponte velha"


def test_training_has_none_of_the_combinations_that_each_held_out_sentence_has():
    source = data(valid=50)
    held = source.combinations()
    assert len(held) == 16  # two of six adjectives for each of eight nouns

    def has(one: Sentence) -> bool:
        return any((phrase.adjective, phrase.noun) in held for phrase in (one.subject, one.thing))

    assert [[has(one) for one in source.sentences(part)].count(True) for part in range(3)] == [0, 50, 200]


def test_each_word_of_held_out_sentences_is_in_the_training_part():
    source = data(train=2000)
    for language in ("english", "spanish", "portuguese"):
        train, test = ({w for one in source.sentences(part) for w in one.text(language).split()} for part in (0, 2))
        assert test <= train
    kept = {(a, n) for a in range(len(ADJECTIVES)) for n in range(len(NOUNS))} - source.combinations()
    assert {a for a, _ in kept} == set(range(len(ADJECTIVES)))
    assert {n for _, n in kept} == set(range(len(NOUNS)))


def test_fields_are_texts_and_the_same_for_all_seeds():
    source = data()
    fields, sets = source.facts().fields, source.load()
    assert list(fields) == ["source", "target", "so_far"]
    assert fields["so_far"].text.shifted == "target"
    assert fields["target"].text.names == data(seed=1).facts().fields["target"].text.names
    first = source.sentences(0)[0]
    texts = source.texts()
    assert texts["source"].decode(sets.train.x[0]) == first.text("english")
    assert texts["target"].decode(sets.train.y[0]) == first.text("spanish")
    assert sets.train.more["so_far"][0, 1:].tolist()[:3] == sets.train.y[0, :3].tolist()


def test_a_seed_draws_the_same_sentences_and_another_one_others():
    assert data().sentences(0) == data(test=10).sentences(0)
    assert data().sentences(0) != data(seed=1).sentences(0)


def test_a_table_of_words_fails():
    """The most frequent partner of each word, by the true alignment of the grammar: the best that a table can do."""
    source = data(train=2000, test=500)
    partners: dict[str, Counter[str]] = defaultdict(Counter)
    for one in source.sentences(0):
        for english, spanish in aligned(one):
            partners[english][spanish] += 1
    table = {word: found.most_common(1)[0][0] for word, found in partners.items()}
    right = 0
    for one in source.sentences(2):
        words = [table[word] for word in one.text("english").split()]
        right += " ".join(word for word in words if word) == one.text("spanish")
    assert right / 500 < 0.2


def aligned(one: Sentence, language: Language = "spanish") -> list[tuple[str, str]]:
    """Return each English word with the one of a language that it stands for; `does` stands for none."""
    pairs = []
    for phrase in (one.subject, one.thing):
        english, other = phrase.words("english"), phrase.words(language)
        pairs += [(english[0], other[0]), (english[-1], other[1])]
        pairs += [(english[1], other[2])] if phrase.adjective is not None else []
    verb, no = VERBS[one.verb], "no" if language == "spanish" else "não"
    does = verb[2 if language == "spanish" else 3]
    return [*pairs, *([("does", ""), ("not", no), (verb[1], does)] if one.negated else [(verb[0], does)])]


def test_tables_of_words_chained_over_english_and_copies_fail_where_nouns_change_their_gender():
    """What `zoo/zero-shot` is to surpass: each word by its most frequent partner, twice; Portuguese as Spanish."""
    source = data(train=4000, test=500, held_out=0, **CHAIN)
    first, second = defaultdict[str, Counter[str]](Counter), defaultdict[str, Counter[str]](Counter)
    for i, one in enumerate(source.sentences(0)):
        for english, other in aligned(one, ("portuguese", "spanish")[i % 2]):
            if i % 2:
                second[english][other] += 1
            else:
                first[other][english] += 1
    chained = copied = 0
    for one in source.sentences(2):
        words, wanted = one.text("portuguese").split(), one.text("spanish")
        told = [second[first[word].most_common(1)[0][0]].most_common(1)[0][0] for word in words]
        chained += " ".join(told) == wanted
        copied += " ".join(words) == wanted
    assert 0.3 < chained / 500 < 0.39
    assert copied / 500 < 0.01


def test_one_language_twice_is_told():
    with pytest.raises(ValueError, match="`from` and `to` are both `spanish`: give two languages"):
        data(**{"from": "spanish"})


def read(source: Translations, part: str) -> list[tuple[str, str]]:
    """Return what a part has as sources and targets, as texts."""
    texts, split = source.texts(), getattr(source.load(), part)
    return [(texts["source"].decode(x), texts["target"].decode(y)) for x, y in zip(split.x, split.y, strict=True)]


def test_sentences_of_training_are_in_the_pairs_in_turn_and_the_test_is_in_another_one():
    source = data(valid=4, **CHAIN)
    for part, of in (("train", 0), ("valid", 1)):
        for i, (one, pair) in enumerate(zip(source.sentences(of), read(source, part), strict=True)):
            into = one.text("english"), one.text("spanish")
            assert pair == ((f"2en {one.text('portuguese')}", into[0]), (f"2es {into[0]}", into[1]))[i % 2]
    for one, pair in zip(source.sentences(2), read(source, "test"), strict=True):
        assert pair == (f"2es {one.text('portuguese')}", one.text("spanish"))


def test_a_misspelt_side_is_one_mistake_and_not_that_of_its_vocabulary_too():
    with pytest.raises(SpecError) as error:
        trace(load(Path("zoo/translation"), ["network.layers.2.from=so_fra"]))
    assert [one.message for one in error.value.problems] == ["there is no node `so_fra` above this one"]


def test_languages_of_pairs_have_one_vocabulary_of_all_words():
    texts = data(**CHAIN).texts()
    names = texts["source"].tokenizer.names
    assert texts["target"].tokenizer.names == names
    words = set().union(*(vocabulary(language)[0] for language in ("english", "spanish", "portuguese")))
    assert names[3:6] == ("2en", "2es", "2pt")
    assert set(names[6:]) == words
    assert {"gato", "this", "não"} <= words


def test_a_language_with_itself_is_a_pair():
    for read_, written in read(
        data(**(CHAIN | {"pairs": [["portuguese", "portuguese"], ["spanish", "spanish"]]})), "train"
    ):
        assert read_[4:] == written


def test_without_held_out_combinations_the_test_has_other_sentences():
    source = data(train=20_000, held_out=0)
    assert source.combinations() == frozenset()
    trained, asked = set(source.sentences(0)), source.sentences(2)
    assert not trained & set(asked)
    combinations = {(p.adjective, p.noun) for one in trained for p in (one.subject, one.thing)}
    assert all((p.adjective, p.noun) in combinations for one in asked for p in (one.subject, one.thing))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {**CHAIN, "from": "spanish", "to": "english"},
            "`from` is `spanish`, and `pairs` have `english`, `portuguese` there: nothing trains it",
        ),
        (
            {**CHAIN, "to": "portuguese", "from": "english"},
            "`to` is `portuguese`, and `pairs` have `english`, `spanish` there: nothing trains it",
        ),
        (
            {"train": 100_000, "held_out": 0},
            "of 150,528 sentences `held_out: 0` leaves the test those that no training has: give at most 75,264",
        ),
    ],
)
def test_what_pairs_cannot_be_is_told(changes: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        data(**changes)
