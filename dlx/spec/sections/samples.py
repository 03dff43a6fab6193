"""The field `samples` of `train`: texts that a language model writes while it is trained, and pictures of samples."""

from __future__ import annotations

from typing import ClassVar, Final

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from ...registry import Declared

TOKENS, SHEET = 200, 64
"""Tokens of a text, and samples of a sheet, where nothing else is said."""
OF_TEXTS: Final = ("prompt", "temperature", "top_k", "top_p")
"""Fields that are of texts alone."""


class Samples(Declared):
    """Let a network show what it makes at stages of its training, and at the end: a text, or a sheet of pictures.

    Each is a file of the run: of a language model `artifacts/samples/step-000500.txt`, with the prompt before it; of
    an objective that makes samples a sheet for each of its pictures, `step-000500-samples.png`. All are drawn by one
    seed, with generators of their own: what is trained stays the same to the bit.
    Source: Karpathy 2015, The unreasonable effectiveness of recurrent neural networks; cs231n, chapter 10.1.
    """

    kind: ClassVar[str] = "samples"
    every: PositiveInt = Field(description="steps from one text or sheet to the next")
    n: PositiveInt | None = Field(None, description="tokens of a text, null: 200; samples of a sheet, null: 64")
    prompt: str | None = Field(
        None, min_length=1, description="what a text goes on with; null: the beginning of a line"
    )
    temperature: NonNegativeFloat = Field(1.0, description="divisor of the logits; 0 takes the most probable token")
    top_k: PositiveInt | None = Field(None, description="draw among so many of the most probable tokens; null: all")
    top_p: float = Field(1.0, gt=0, le=1, description="draw among the most probable ones that add up to it")
    seed: NonNegativeInt = Field(0, description="of the draws")
