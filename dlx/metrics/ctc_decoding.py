"""Labels from the outputs of connectionist temporal classification: the best path, or a search over prefixes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import np, torch

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    Probabilities = npt.NDArray[np.float64]

END = -1
"""Number behind the end of a decoded sequence."""


def best_path(output: Tensor, blank: int) -> Tensor:
    """Return the labels (N, T) of the most probable output at each position of (N, T, labels + 1), `END` behind.

    Repeats are merged and blanks dropped: Graves et al. 2006, section 3.2, best path decoding.
    """
    path = output.argmax(2)
    first = torch.ones_like(path[:, :1], dtype=torch.bool)
    counts = (path != blank) & torch.cat((first, path[:, 1:] != path[:, :-1]), 1)
    order = (~counts).to(torch.int8).argsort(dim=1, stable=True)
    labels = (path - (path > blank).to(path.dtype)).gather(1, order)
    return labels.where(torch.arange(path.shape[1], device=path.device) < counts.sum(1, keepdim=True), END)


def prefix_search(output: Tensor, blank: int, beam: int) -> Tensor:
    """Return the labels (N, T) of the most probable sequence that a search finds for logits (N, T, labels + 1).

    At each position the `beam` most probable prefixes stay, each with the probability of all paths to it: Graves
    2012, Supervised sequence labelling, section 7.5; Hannun 2014, arXiv:1408.2873, algorithm 1, without a language
    model. On the CPU, example by example.
    """
    each = output.double().softmax(2).cpu().numpy()
    found = torch.full(output.shape[:2], END, dtype=torch.long)
    for i, probabilities in enumerate(each):
        best = _best_prefix(probabilities, blank, beam)
        found[i, : len(best)] = torch.tensor(best, dtype=torch.long)
    return found.to(output.device)


def _best_prefix(probabilities: Probabilities, blank: int, beam: int) -> list[int]:
    """Search one example, (T, labels + 1); each prefix has the probabilities of paths that end in a blank or not."""
    prefixes: dict[tuple[int, ...], tuple[float, float]] = {(): (1.0, 0.0)}
    for now in probabilities.tolist():
        grown: dict[tuple[int, ...], list[float]] = {}
        for prefix, (in_blank, in_label) in prefixes.items():
            same = grown.setdefault(prefix, [0.0, 0.0])
            same[0] += (in_blank + in_label) * now[blank]
            if prefix:
                same[1] += in_label * now[prefix[-1]]
            for label, p in enumerate(now):
                if label != blank:
                    before = in_blank if prefix and label == prefix[-1] else in_blank + in_label
                    grown.setdefault((*prefix, label), [0.0, 0.0])[1] += before * p
        ranked = sorted(grown.items(), key=lambda item: -sum(item[1]))[:beam]
        total = sum(sum(both) for _, both in ranked)  # of numbers that would become too small in long sequences
        prefixes = {prefix: (in_blank / total, in_label / total) for prefix, (in_blank, in_label) in ranked}
    best = max(prefixes, key=lambda prefix: sum(prefixes[prefix]))
    return [label - (label > blank) for label in best]
