"""Whether a training meets what its spec claims of quality, for tests of shipped specs and of broken twins."""

from collections.abc import Iterable, Mapping

from helpers import SHIPPED

from dlx.graph.expect import claims, unmet_by
from dlx.spec import load


def bounds(name: str) -> dict[str, dict[str, float]]:
    """Return the figures that a shipped spec claims of its metrics, by metric."""
    return {one.quantity: dict(one.figures) for one in claims(load(SHIPPED[name])) if one.trained}


def unmet(name: str, metrics: Mapping[str, float]) -> set[str]:
    """Return the metrics of which a shipped spec claims more than these are."""
    return {one.path.removeprefix("expect.") for one in unmet_by(load(SHIPPED[name]), metrics)}


def all_of(name: str) -> set[str]:
    """Return the metrics of which a shipped spec claims something."""
    return set(bounds(name))


def mean_of(each: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the means of the metrics of several trainings."""
    found = list(each)
    return {name: sum(one[name] for one in found) / len(found) for name in found[0]}
