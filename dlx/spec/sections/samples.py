"""The field `samples` of `train`: texts that a language model writes while it is trained."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from ...registry import Declared


class Samples(Declared):
    """Let a language model write a text at stages of its training, and at the end.

    Each is a file of the run, `artifacts/samples/step-000500.txt`, with the prompt before it. All are drawn by one
    seed, with generators of their own: what is trained stays the same to the bit.
    Source: Karpathy 2015, The unreasonable effectiveness of recurrent neural networks; cs231n, chapter 10.1.
    """

    kind: ClassVar[str] = "samples"
    every: PositiveInt = Field(description="steps from one text to the next")
    n: PositiveInt = Field(200, description="tokens of a text")
    prompt: str | None = Field(None, min_length=1, description="what it goes on with; null: the beginning of a line")
    temperature: NonNegativeFloat = Field(1.0, description="divisor of the logits; 0 takes the most probable token")
    top_k: PositiveInt | None = Field(None, description="draw among so many of the most probable tokens; null: all")
    top_p: float = Field(1.0, gt=0, le=1, description="draw among the most probable ones that add up to it")
    seed: NonNegativeInt = Field(0, description="of the draws")
