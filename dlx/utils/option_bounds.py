"""Bounds on the numbers that options take: what no command comes to the end of is refused in a sentence."""

from __future__ import annotations

from ..errors import DlxError, number_text

TOKENS = 10_000_000
"""Tokens that one command makes, in all texts or waves together."""
BEAMS = 1_000
"""Texts that a search follows at once, each with the states of the network."""
SAMPLES = 100_000
"""Samples of an objective that one command makes."""
DRAWS = 100_000
"""Draws of a network for each input: all are held until their spread is known."""
FOLDS = 100_000
"""Folds of a cross-validation, each a training."""
PROCESSES = 1_000
"""Processes of a sweep, each of which has torch in its memory."""
MOST_DIGITS = 1_000
SEED = 2**63 - 1
"""The largest seed that a generator takes."""


def check_seed(option: str, seed: int, draws: int = 1) -> None:
    """Raise DlxError where a seed, or one of those after it for further draws, is beyond those of generators."""
    if not -SEED <= seed <= SEED - draws:
        raise DlxError(f"{option} is {number_text(seed)}, and generators take 64 bits", hint="Take a smaller one.")


def check(option: str, value: int | None, most: int, least: int = 1) -> None:
    """Raise DlxError where the value of an option is below `least` or above `most`; None is no value."""
    if value is not None and value < least:
        raise DlxError(f"{option} is {value}", hint=f"Take {least} or more.")
    if value is not None and value > most:
        raise DlxError(f"{option} is {number_text(value)}, and {most:,} is the most", hint="Take less.")


def whole(text: str) -> int | None:
    """Return the whole number that a text is; None where it is none, or has more digits than Python reads."""
    return int(text) if text.isdecimal() and len(text) <= MOST_DIGITS else None
