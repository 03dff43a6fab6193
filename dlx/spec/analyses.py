"""The base class of analyses: experiments of the books on a network, `dlx analyze KIND SPEC|RUN`.

Their kinds are in `dlx/analysis/kinds`, which has the networks and data that they look at; a spec only names them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from itertools import islice
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from ..errors import Problem
from ..registry import FAMILIES, Declared, Registry, family
from .syntax.read import BROKEN, Node
from .validation import choose, shown

ANALYSES: Registry[Analysis] = FAMILIES["analysis"]
SECTION = "analyses"
PLACEHOLDER = re.compile("[A-Z]+")
NUMBER = r"[-+\d.e]+"
WHOLE = r"(0|[1-9]\d{0,17})"
Words = Mapping[str, Collection[str] | range]
NOTHING: Words = MappingProxyType({})
MOST_WORDS = 100
"""Words of a part in capitals of which figures are listed."""
MOST_NETWORKS = 10_000
"""Draws of weights, or trainings, of one analysis."""


@family(ANALYSES)
class Analysis(Declared):
    """Base of all analyses. Fields are options, of which a bare value sets the first."""

    required = ("run",)

    source: ClassVar[str] = ""
    """The section of a book, or the paper, that has the experiment; shown with the figure."""
    example: ClassVar[str] = ""
    """A command that shows it: `dlx analyze activation_scale udl/figure-11-6`."""
    figures: ClassVar[tuple[str, ...]] = ()
    """The figures that it may have, of which a claim on another is an error before it runs: `error`; or `error_N`,
    where options or networks set the part in capitals, and N is a number. Empty: known once it has run."""
    trained: ClassVar[bool] = False
    """Whether it says something of trained weights alone: it takes a run, and `verify` judges it under `--train`."""
    trains: ClassVar[bool] = False
    """Whether it trains variants of a spec itself, so that `verify` judges it under `--train`."""
    several: ClassVar[Literal["seeds", "networks", "no"]] = "seeds"
    """What several runs are to it: seeds of one spec (a mean with its interval), networks to compare, or an error."""

    weight_draws: ClassVar[str] = "seeds"
    """The option that counts draws of the weights of a spec, where `several` is "seeds": runs have their own. Empty
    where no option does."""

    weights: Literal["initial", "trained"] | None = Field(
        None,
        description="those looked at; of a declared analysis by default initial, unless the kind needs trained",
    )

    @field_validator("seeds", "networks", check_fields=False)
    @classmethod
    def _bounded(cls, value: int) -> int:
        """Check how many networks are drawn or trained. ValueError where they are more than one command trains."""
        if value > MOST_NETWORKS:
            raise ValueError(f"{value:,} networks are more than {MOST_NETWORKS:,}, the most of one analysis")
        return value

    @classmethod
    def first_field(cls) -> str | None:
        """Return the first option of the kind itself."""
        return next((name for name in cls.model_fields if name not in Analysis.model_fields), None)

    @classmethod
    def may_have(cls, figure: str, known: Words = NOTHING) -> bool:
        """Whether a figure is one that it may have; `known` are the words that a part in capitals stands for."""

        def fits(one: str) -> bool:
            numbers: list[range] = []

            def pattern(part: re.Match[str]) -> str:
                words = known.get(part[0])
                if isinstance(words, range):  # too many to list, as of joints
                    numbers.append(words)
                    return WHOLE
                open_end = NUMBER if part[0] == "N" else ".+"
                return open_end if words is None else f"(?:{'|'.join(map(re.escape, words))})"

            found = re.fullmatch(PLACEHOLDER.sub(pattern, one), figure)
            return found is not None and all(int(n) in of for n, of in zip(found.groups(), numbers, strict=True))

        return not cls.figures or any(map(fits, cls.figures))

    @classmethod
    def figures_of(cls, known: Words) -> list[str]:
        """Return its figures, each with the words that a part in capitals stands for, where they are `known`."""
        found = list(cls.figures)
        for part, words in known.items():
            whole = re.compile(f"(?<![A-Z]){part}(?![A-Z])")
            some = [str(word) for word in islice(words, MOST_WORDS)]
            found = [whole.sub(word, one) for one in found for word in (some if whole.search(one) else [part])]
        return found

    def words(self, subject: Any) -> Words:
        """Return what parts in capitals of `figures` stand for, as far as options and the network say it; numbers
        that may be many as a range.
        """
        return NOTHING

    @property
    def of_trained(self) -> bool:
        """Whether it looks at the weights of a training, where a spec declares it."""
        return self.weights == "trained" or (type(self).trained and self.weights is None)

    @property
    def after_training(self) -> bool:
        """Whether its figures want a training: `verify` judges claims on them under `--train` alone."""
        return self.of_trained or type(self).trains

    def without_effect(self) -> dict[str, str]:
        """Return the options that the others leave without effect, with why: `{"steps": "with `attack: fgsm`"}`."""
        return {}

    def problems(self, subject: Any) -> list[Problem]:
        """Return why it does not fit the network or the data of a `dlx.analysis.subject.Subject`; without torch."""
        return []

    def run(self, subject: Any) -> Any:
        """Return a `dlx.analysis.result.Result`. Deterministic: equal subjects give equal results."""
        raise TypeError(f"{type(self).__name__} has no run()")


def parse_analyses(node: Node, resolved: Callable[[Node, str], Node], problems: list[Problem]) -> dict[str, Analysis]:
    """Return the analyses of the section by name; null leaves one out. Mistakes go to `problems`.

    `resolved` evaluates the expressions of a node at a path.
    """
    found: dict[str, Analysis] = {}
    if node.value is None or node.value is BROKEN:
        return found
    if not node.is_map:
        hint = "Write `analyses: {scale: {activation_scale: {seeds: 6}}}`."
        message = f"`analyses` must be a mapping of names to kinds, not {shown(node.plain())}"
        problems.append(Problem(message, hint, node.mark, SECTION))
        return found
    for name, child in node.map.items():
        path = f"{SECTION}.{name}"
        if not name.isidentifier():
            problems.append(
                Problem(f"an analysis cannot be called `{name}`", "Letters, digits and `_`.", child.mark, path)
            )
        elif child.value is not None:
            made = choose(ANALYSES, resolved(child, path), path, problems)
            if made is None:
                continue
            if name in ANALYSES and name != type(made).kind:
                message = f"an analysis of the kind `{type(made).kind}` is called `{name}`, which is another kind"
                problems.append(
                    Problem(message, f"`dlx analyze {name}` means that kind: call it otherwise.", child.mark, path)
                )
            found[name] = made
    return found
