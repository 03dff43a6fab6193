"""The spec that fits a text: a character model."""

from __future__ import annotations

from pathlib import Path

from .lines import Draft, one_line, with_comment

SUFFIXES = (".txt", ".text", ".md")
WINDOW, STREAMS, STEPS = 64, 32, 2000


def is_text(data: Path) -> bool:
    """Whether a path is a text, or a folder of files .txt and no folders of pictures."""
    return data.suffix.lower() in SUFFIXES if data.is_file() else any(data.glob("*.txt"))


def text_draft(data: Path, path: str, name: str) -> Draft:
    """Return a spec for the text at `data`. DataError where it cannot be read."""
    from ...data.text.corpus import Corpus

    lengths = Corpus(data).scan().lengths
    characters, documents = sum(lengths), len(lengths)
    long = documents == 1 and characters // 10 > WINDOW * STREAMS
    window = WINDOW if long or documents > 1 else max(2, min(WINDOW, characters // 50))
    size = f"{characters:,} characters" + (f" in {documents:,} files" if documents > 1 else "")
    lines = [
        f"# `dlx new --data {one_line(data.name)}`: {size}",
        "dlx: 1",
        f"name: {name}",
        "data:",
        "  text:",
        f"    path: {path}",
        with_comment("    tokens: characters", "or bytes, words, {bpe: {size: 1000}}"),
        with_comment(f"    window: {window}", "tokens that the network sees at once"),
        *([with_comment("    carry: true", "the state goes on from window to window")] if long else []),
        "    valid: 0.1",
        "    test: 0.1",
        with_comment("    unknown: token", "what the training part does not have"),
        "network:",
        "  layers:",
        "    - embedding: {embedding_dim: 64}",
        "    - lstm: 128",
        with_comment('    - linear: "${data.vocabulary}"', "a logit for each token"),
        "objective: language",
        "train:",
        f"  steps: {STEPS}",
        f"  batch_size: {STREAMS if long else 8}",
        "  optimizer: {adam: {lr: 4e-3}}",
        "  schedule: cosine",
        "  clip_norm: 1",
    ]
    return Draft("\n".join(lines) + "\n", (f"each character is predicted from those before it: {size}",))
