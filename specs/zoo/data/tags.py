"""Sentences of words that are several parts of speech, each with the tags of its words: writes tags.npz beside it.

    python tags.py

A sentence is a Markov chain of tags, each of which gives a word: a hidden Markov model. What the best model of a
sentence reaches follows by the forward-backward algorithm, and what the best one of single words reaches by counting.
"""

from pathlib import Path

import numpy as np

TAGS = ("determiner", "adjective", "noun", "verb", "adverb", "preposition")
WORDS = {
    "determiner": "the a every my that",
    "adjective": "light cold green fast hard late close open round old",
    "noun": "run walk play light cold green round close watch time dog box that",
    "verb": "run walk play watch open close round time box light",
    "adverb": "fast hard late close in over on",
    "preposition": "in over on under round",
}
"""Words of each tag, equally frequent."""
START = (0.5, 0.15, 0.2, 0.05, 0.1, 0.0)
NEXT = (
    (0.0, 0.4, 0.6, 0.0, 0.0, 0.0),  # after a determiner
    (0.0, 0.15, 0.85, 0.0, 0.0, 0.0),  # after an adjective
    (0.0, 0.0, 0.1, 0.65, 0.1, 0.15),  # after a noun
    (0.4, 0.1, 0.05, 0.0, 0.25, 0.2),  # after a verb
    (0.2, 0.15, 0.0, 0.4, 0.05, 0.2),  # after an adverb
    (0.7, 0.1, 0.2, 0.0, 0.0, 0.0),  # after a preposition
)
VOCABULARY = ("", *sorted({word for words in WORDS.values() for word in words.split()}))
"""Word by number; 0 is the padding."""
SHORTEST, LONGEST = 6, 20
NO_TAG = -100
"""Tag of padding, which does not count."""
SENTENCES = {"": 600, "test_": 400}
"""Sentences of the parts, by the prefix of their arrays."""


def emissions() -> np.ndarray:
    """Return the probability of each word for each tag, (tags, words)."""
    found = np.zeros((len(TAGS), len(VOCABULARY)))
    for i, tag in enumerate(TAGS):
        for word in WORDS[tag].split():
            found[i, VOCABULARY.index(word)] = 1 / len(WORDS[tag].split())
    return found


def drawn(probabilities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a number for each row of probabilities."""
    return (rng.random(len(probabilities))[:, None] > probabilities.cumsum(1)[:, :-1]).sum(1)


def sentences(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw words and tags (n, LONGEST), those behind the end of a sentence 0 and NO_TAG."""
    of_tag, after = emissions(), np.array(NEXT)
    tags = [drawn(np.tile(START, (n, 1)), rng)]
    for _ in range(LONGEST - 1):
        tags.append(drawn(after[tags[-1]], rng))
    words = np.stack([drawn(of_tag[one], rng) for one in tags], 1)
    length = rng.integers(SHORTEST, LONGEST, n, endpoint=True)
    there = np.arange(LONGEST) < length[:, None]
    return np.where(there, words, 0).astype(np.uint8), np.where(there, np.stack(tags, 1), NO_TAG).astype(np.int8)


def arrays() -> dict[str, np.ndarray]:
    """Return the arrays of the file by name."""
    found = {}
    for stream, (prefix, n) in enumerate(SENTENCES.items()):
        found[f"{prefix}words"], found[f"{prefix}tags"] = sentences(n, np.random.default_rng(stream))
    return found


if __name__ == "__main__":
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **arrays())
