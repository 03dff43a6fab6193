"""Pages of the sections of a spec for `dlx layers`, beside those of kinds: `train`, `train.samples`, `data`."""

from __future__ import annotations

import inspect

from ..errors import DlxError, did_you_mean, with_article
from ..reference import vocabulary
from ..reference.vocabulary import LISTED, STRUCTURES, Page
from ..registry import FAMILIES, Strict
from .section_names import SECTIONS
from .sections.initial_weights import InitialWeights
from .sections.prune import Prune
from .sections.sweep import Sweep
from .sections.track import Track
from .sections.train import Train
from .validation import section_at

MODELS: dict[str, type[Strict]] = {
    "train": Train,
    "track": Track,
    "sweep": Sweep,
    "prune": Prune,
    "weights": InitialWeights,
}


def page(name: str) -> Page:
    """Return the page of a kind, of a section, or of a section within one. DlxError where there is none."""
    first, *inside = name.split(".")
    if name not in LISTED and first in MODELS and ".".join((first, *inside[:1])) not in LISTED:
        return _of_section(name, MODELS[first], inside)
    if name in LISTED and not any(name in registry for registry in FAMILIES.values()):
        return _of_family(name)
    if name in SECTIONS and name not in STRUCTURES:
        message = f"`{name}` is a section of a spec that holds no kind"
        raise DlxError(message, hint="docs/spec.md says what stands in it; `dlx layers` lists the kinds.")
    return vocabulary.page(name, also=SECTIONS)


def _of_section(name: str, cls: type[Strict], inside: list[str]) -> Page:
    """Return the page of a section, or of the one inside it that is named."""
    for depth, key in enumerate(inside):
        if key not in cls.model_fields:
            owner = ".".join(name.split(".")[: depth + 1])
            raise DlxError(f"`{owner}` has no `{key}`", hint=did_you_mean(key, cls.model_fields, "the fields"))
        inner = section_at(cls, key)
        if inner is None:
            return Page(name, "A field of a section.", (vocabulary.field_row(cls, key),))
        cls = inner
    rows = tuple(vocabulary.field_row(cls, field) for field in cls.model_fields)
    return Page(name, inspect.cleandoc(cls.__doc__ or "A section of a spec."), rows)


def _of_family(name: str) -> Page:
    """Return the page of a section that holds a kind, or a list of kinds."""
    registry = LISTED[name]
    noun = f"{registry.noun}s" if registry.many else with_article(registry.noun)
    lines = "\n".join(f"    {kind}: {registry[kind].summary()}" for kind in registry)
    return Page(name, f"A section that holds {noun}, by kind:\n\n{lines}")
