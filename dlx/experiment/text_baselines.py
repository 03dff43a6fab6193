"""Baselines of texts: counted in the training part, and measured on the targets of the windows of each part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..data.text.windows import MASKED, Windows
from ..errors import RunError, plural
from ..lazy import np
from ..losses import LOSSES
from ..objectives.language import Language, of_entropy

if TYPE_CHECKING:
    from ..baselines.base import OfText
    from ..data import Sets

MOST_TOKENS = 200_000_000
"""Tokens that are counted in memory at most, a hundred bytes each."""
AT_ONCE = 1 << 20
"""Targets that are looked at together."""


@dataclass(frozen=True)
class Measured:
    """Metrics by name, and what is to be told of them."""

    metrics: dict[str, float]
    notes: list[str]


def measure(baseline: OfText, objective: Language, sets: Sets) -> Measured:
    """Return the metrics of a baseline on each part, by the targets that count there for a network as well.

    RunError where the text is too long to be counted in memory.
    """
    parts = {name: _windows(part.y) for name, part in sets.parts().items()}
    training = parts["train"].file
    if len(training.tokens) > MOST_TOKENS:
        message = f"{baseline.kind} counts in memory, at most {MOST_TOKENS:,} tokens, and the training part has "
        raise RunError(message + f"{len(training.tokens):,}", hint="Take a part of it: `data.text.train`.")
    counted = baseline.counted(training.tokens, training.documents, len(sets.class_names))
    metrics: dict[str, float] = {}
    for name, windows in parts.items():
        tokens = np.asarray(windows.file.tokens, np.int64)
        p, best = counted.answers(tokens, windows.file.documents)
        times = target_counts(windows)
        if (ignored := objective.loss.ignores()) is not None:
            times[tokens == ignored] = 0
        found = _metrics(objective, tokens, p, best, times, np.asarray(windows.file.lengths))
        metrics |= {f"{name}/{metric}": value for metric, value in found.items()}
    different = plural(counted.different, "different group")
    notes = [f"the training part has {different} of {plural(baseline.context + 1, 'token')}"]
    if without := [metric.name for metric in objective.metrics]:
        notes.append(f"{', '.join(without)} not measured: {baseline.kind} is measured by the metrics of every text")
    if not _is_plain(objective):
        notes.append("loss not measured: the loss of the objective is another one than the plain cross-entropy")
    return Measured(metrics, notes)


def target_counts(windows: Windows) -> Any:
    """Return how many targets of the windows are each token of the part (tokens,)."""
    count = len(windows.file.tokens)
    places = replace(windows, file=replace(windows.file, tokens=np.arange(count)))
    found = np.zeros(count, np.int64)
    for some in _pieces(places):
        found += np.bincount(some[some != MASKED], minlength=count)
    return found


def _pieces(windows: Windows) -> Iterator[Any]:
    """Yield the windows, some at a time."""
    step = max(1, AT_ONCE // windows.window)
    for start in range(0, len(windows), step):
        yield windows[start : start + step]


def _is_plain(objective: Language) -> bool:
    """Whether the loss is the cross-entropy without weights and smoothing."""
    loss = objective.loss
    plain: bool = loss == LOSSES["cross_entropy"]().model_copy(update={"ignore_index": loss.ignores()})
    return plain


def _windows(targets: object) -> Windows:
    assert isinstance(targets, Windows)
    return targets


def _metrics(objective: Language, tokens: Any, p: Any, best: Any, times: Any, lengths: Any) -> dict[str, float]:
    """Return the metrics of one part, of tokens that count so many `times` each."""
    there = times > 0
    tokens, p, best, times = tokens[there], p[there], best[there], times[there]
    count = int(times.sum())
    nats = float(-(np.log(p) * times).sum() / count)
    found = {"loss": nats} if _is_plain(objective) else {}
    found["accuracy"] = float(((best == tokens) * times).sum() / count)
    return objective.measured(found) | of_entropy(nats, count, float((lengths[tokens] * times).sum()))
