"""Tokenizers: what a token is, that texts come back, and that pieces of a text make no difference."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from dlx.text import UnknownTextError, restored, trained
from dlx.text.library import LONGEST_LINE, bytes_to_letters
from dlx.text.tokens import TokenOptions

ODD = "héllo   wörld\n\n\n  日本語 🎉\r\n x\ttab"
BPE = {"bpe": TokenOptions(size=270)}
EXACT = ["characters", "bytes", BPE]


def pieces_of(text: str, size: int) -> list[str]:
    return [text[i : i + size] for i in range(0, len(text), size)]


@pytest.mark.parametrize("tokens", EXACT, ids=str)
@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_a_text_comes_back_in_whatever_pieces_it_is_read(tokens, size):
    one = trained(tokens, [ODD], "error")
    numbers = np.concatenate(list(one.encode_pieces(pieces_of(ODD, size))))

    assert one.decode(numbers.tolist()) == ODD
    assert numbers.tolist() == one.encode(ODD).tolist()
    assert 0 <= numbers.min() <= numbers.max() < one.size == len(one.names) == len(set(one.names))


@pytest.mark.parametrize("tokens", EXACT, ids=str)
def test_the_lengths_of_tokens_add_up_to_the_characters_of_the_text(tokens):
    one = trained(tokens, [ODD], "error")
    lengths = np.array(one.lengths)
    assert lengths[one.encode(ODD)].sum() == len(ODD)
    assert len(lengths) == one.size


@pytest.mark.parametrize("tokens", [*EXACT, "words", {"words": TokenOptions(size=2)}], ids=str)
def test_a_tokenizer_comes_back_from_its_document(tokens):
    one = trained(tokens, [ODD], "token")
    again = restored(json.loads(json.dumps(one.as_json())))
    assert again == one
    assert again.names == one.names
    assert again.encode(ODD).tolist() == one.encode(ODD).tolist()


def test_byte_pairs_are_merged_by_frequency():
    """By hand: of `aaabdaaabac` the pair `aa` comes four times, the most frequent one, and is token 256."""
    one = trained({"bpe": TokenOptions(size=257)}, ["aaabdaaabac"], "error")
    assert one.names[256] == "aa"
    assert [one.names[i] for i in one.encode("aaab")] == ["aa", "a", "b"]


def test_a_letter_that_was_never_seen_survives_byte_pairs():
    one = trained(BPE, ["only ascii here"], "error")
    assert one.decode(one.encode(ODD).tolist()) == ODD


def test_words_are_in_the_order_of_their_frequency_and_the_rest_is_unknown():
    one = trained({"words": TokenOptions(size=2)}, ["b a b, c a b"], "error")
    assert one.names == ("b", "a", "<unk>")
    assert one.encode("a b c\nd").tolist() == [1, 0, 2, 2]
    assert one.decode([1, 0]) == "a b"


def test_the_literal_unknown_is_no_token():
    one = trained("words", ["a <unk> b"], "token")
    assert [one.names[i] for i in one.encode("a <unk>")] == ["a", "<", "unk", ">"]


@pytest.mark.parametrize(("tokens", "odd"), [("characters", "é"), ("words", "zebra")])
def test_an_unknown_part_is_told_with_its_place(tokens, odd):
    one = trained(tokens, ["abrez a\nb"], "error")
    with pytest.raises(UnknownTextError) as told:
        list(one.encode_pieces(["abrez ", "a\n", f"b {odd} a"] if tokens == "words" else ["a", "b", f"r{odd}"]))
    assert told.value.text == odd
    assert told.value.before == (10 if tokens == "words" else 3)


def test_unknown_characters_are_one_token_where_that_is_asked_for():
    one = trained("characters", ["ab"], "token")
    assert one.names == ("a", "b", "<unk>")
    assert one.encode("aéb🎉").tolist() == [0, 2, 1, 2]


def test_a_text_without_lines_is_cut_at_the_same_places_in_any_pieces():
    text = "ab " * LONGEST_LINE
    one = trained(BPE, [text[:100]], "error")
    whole = one.encode(text)
    assert np.concatenate(list(one.encode_pieces(pieces_of(text, 1000)))).tolist() == whole.tolist()


def test_the_letters_of_bytes_are_those_of_the_library():
    from tokenizers import pre_tokenizers

    assert set(bytes_to_letters().values()) == set(pre_tokenizers.ByteLevel.alphabet())
    ((text, _),) = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str("é")
    assert text == "".join(bytes_to_letters()[byte] for byte in "é".encode())


@pytest.mark.parametrize("tokens", ["words", BPE], ids=str)
def test_training_is_repeatable_in_another_process(tokens):
    """dlx keeps what it trained all the same: the library does not promise it for every kind."""
    code = (
        "import sys, json; from dlx.text import trained; from dlx.text.tokens import TokenOptions\n"
        f"tokens = {'words' if tokens == 'words' else None!r} or {{'bpe': TokenOptions(size=270)}}\n"
        f"print(trained(tokens, [{ODD!r} * 3], 'error').digest)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == trained(tokens, [ODD * 3], "error").digest


def test_characters_and_bytes_need_no_library():
    code = (
        "import sys; from dlx.text import trained\n"
        "for t in ('characters', 'bytes'): trained(t, ['ab'], 'error').encode('ab')\n"
        "print([m for m in ('tokenizers', 'torch') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
