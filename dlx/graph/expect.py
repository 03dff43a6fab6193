"""What a spec claims under `expect`, held against the plan and, after training, against the metrics.

expect:
  params: 2050                                  # or trainable, buffers, macs, activation_bytes
  receptive_field: 15                           # of the whole, "global", or by node: {conv_1: 3, conv_2: 7}
  shape: {conv_1: [15, 19]}                     # of named nodes
  test/error: {about: 0.17, within: 0.05, source: "figure 10.8a"}
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..errors import Problem, did_you_mean
from ..shapes import Reach
from ..spec import Experiment
from ..spec.located import Node
from ..spec.validation import shown
from .graph import Graph, LayerNode, Seen

COUNTS = ("params", "trainable", "buffers", "macs", "activation_bytes")
PARTS = ("train/", "valid/", "test/")


def misread(experiment: Experiment) -> list[Problem]:
    """Claims that no one could check."""
    claims = experiment.root.at("expect")
    if claims is None or claims.value is None:
        return []
    if not claims.is_map:
        message = f"`expect` must be a mapping of claims, not {shown(claims.plain())}"
        return [Problem(message, "Write `expect: {params: 2050}`.", claims.mark, "expect")]
    problems = []
    known = (*COUNTS, "receptive_field", "shape", "test/accuracy", "test/error", "test/loss")
    for name, claim in claims.map.items():
        path = f"expect.{name}"
        if name.startswith(PARTS):
            if _about(claim) is None:
                hint = "Write `{about: 0.17, within: 0.05}`."
                problems.append(Problem(f"`{name}` wants a number and how near is near", hint, claim.mark, path))
        elif name not in known:
            problems.append(Problem(f"there is no claim `{name}`", did_you_mean(name, known), claim.mark, path))
    return problems


def unmet(experiment: Experiment, graph: Graph) -> list[Problem]:
    """Claims that the plan does not meet."""
    claims = experiment.root.at("expect")
    return [Problem(text, "", mark.mark, path) for text, mark, path in _unmet(claims, graph)] if claims else []


def _unmet(claims: Node, graph: Graph) -> Iterator[tuple[str, Node, str]]:
    for name, claim in claims.map.items():
        path = f"expect.{name}"
        if name in COUNTS and claim.value != getattr(graph, name):
            yield f"claims {_shown(claim.plain())} {name}, and the network has {getattr(graph, name):,}", claim, path
        if name == "receptive_field" and not claim.is_map and not _sees(claim.plain(), graph.receptive_field):
            sees = _told(graph.receptive_field)
            yield f"claims a receptive field of {_shown(claim.plain())}, and the network's is {sees}", claim, path
        if name == "receptive_field":
            yield from _by_node(claim, graph, path, "a receptive field", lambda n: n.reach, _sees, _told)
        if name == "shape":
            yield from _by_node(claim, graph, path, "the shape", lambda n: list(n.shape), lambda a, b: a == b, _shown)


def _by_node(
    claims: Node,
    graph: Graph,
    path: str,
    what: str,
    value: Callable[[LayerNode], Any],
    meets: Callable[[Any, Any], bool],
    told: Callable[[Any], str],
) -> Iterator[tuple[str, Node, str]]:
    for name, claim in claims.map.items():
        node = graph.by_name.get(name)
        if node is None:
            yield f"claims something of `{name}`, which is no node", claim, f"{path}.{name}"
        elif not meets(claim.plain(), value(node)):
            text = f"claims {what} of {_shown(claim.plain())} for `{name}`, and it is {told(value(node))}"
            yield text, claim, f"{path}.{name}"


def unmet_by(experiment: Experiment, metrics: Mapping[str, float]) -> list[Problem]:
    """Claims about results that a training does not meet; one about a metric that there is not is not met either."""
    claims = experiment.root.at("expect")
    problems = []
    for name, claim in (claims.map if claims else {}).items():
        if not name.startswith(PARTS) or (wanted := _about(claim)) is None:
            continue
        about, within = wanted
        got = metrics.get(name)
        if got is None or not abs(got - about) <= within:
            came = "there is no such metric" if got is None else f"it is {got:.4g}"
            text = f"claims {name} about {about:g}, within {within:g}, and {came}"
            problems.append(Problem(text, "", claim.mark, f"expect.{name}"))
    return problems


def _about(claim: Node) -> tuple[float, float] | None:
    """The value that is claimed and how far from it is still right."""
    plain = claim.plain()
    given = plain if isinstance(plain, dict) else {"about": plain}
    about, within = given.get("about"), given.get("within", 0)
    if isinstance(about, int | float) and isinstance(within, int | float):
        return float(about), float(within)
    return None


def _sees(claim: Any, seen: Seen) -> bool:
    if not isinstance(seen, Reach):
        return bool(claim == seen)
    return list(seen.size) in ([claim] * len(seen.size), claim)


def _told(seen: Seen) -> str:
    return str(seen) if seen is not None else "none"


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
