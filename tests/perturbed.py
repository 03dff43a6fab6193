"""A spec with one thing changed: a width, a bias, a layer, a number of steps."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice, zip_longest
from typing import Any

from dlx.analysis import declared
from dlx.claims.verify import VerifiedSpec, receipts_of
from dlx.errors import DlxError, Mark
from dlx.graph import trace_all
from dlx.graph.expect import Receipt
from dlx.layers import LAYERS
from dlx.spec import Experiment
from dlx.spec.sections.expect import CLAIMING
from dlx.spec.syntax.read import Node

Path = tuple[str | int, ...]
Change = tuple[str, Path, Any]
"""The sort of a change, the place, and the other value there; `None` takes the item of a list out."""

LEFT_OUT = {*CLAIMING, "dlx", "name", "source", "track", "sweep", "plugins", "baselines"}
"""Sections that no claim is about, and the claims themselves."""
LAYERS_IN = {"network", "networks", "blocks"}
SORTS = {
    **dict.fromkeys(("values",), "given weight"),
    **dict.fromkeys(("inputs",), "input"),
    **dict.fromkeys(("bias",), "bias"),
    **dict.fromkeys(("times", "depth", "depths", "num_layers", "n"), "repeats"),
    **dict.fromkeys(("kernel_size", "stride", "padding", "dilation", "groups"), "window"),
    **dict.fromkeys(("out_channels", "out_features", "hidden_size", "embedding_dim", "width", *LAYERS), "width"),
}
"""What a value in a list of layers is, by a key that leads to it; the first that fits counts."""
MOST = 400
"""Changes of one spec that are tried."""
MOST_ANALYSED = 40
"""Changes of one spec whose analyses are run."""


@dataclass
class Found:
    """What the changes of a spec did to its receipts, without those on a training."""

    receipts: int = 0
    broken: Counter[str] = field(default_factory=Counter)
    """How many failed first under each sort of change."""
    standing: dict[str, Receipt] = field(default_factory=dict)
    """Those that no change has broken, by path."""


def perturb(experiment: Experiment) -> Found:
    """Change a spec in one place after the other, until each of its receipts has failed once.

    Given weights and data hold sizes fast, and a change beside them is no spec any more: receipts that still stand
    are looked at once more without them.
    """
    found = Found()
    judged = [r for r in receipts_of(experiment, trace_all(experiment)) if r.claim.is_receipt and not r.claim.trained]
    found.standing = {r.claim.path: r for r in judged if r.verdict in {"holds", "book wrong"}}
    found.receipts = len(found.standing)
    for base in (experiment.written, _free(experiment)):
        for sort, root in changes(base):
            if not found.standing:
                return found
            with suppress(DlxError, RecursionError):  # no spec any more
                changed = experiment.with_root(root)
                for receipt in receipts_of(changed, trace_all(changed)):
                    if receipt.verdict == "FAILS" and found.standing.pop(receipt.claim.path, None) is not None:
                        found.broken[sort] += 1
    return found


def perturb_analyses(experiment: Experiment) -> Found:
    """Change a spec in one place after the other, until each claim on an analysis before training has failed once.

    What is analysed changes, never the analysis; changes that leave a claim without a figure count for nothing.
    """
    root, found = experiment.written, Found()
    held = [r for r in _of_analyses(experiment) if r.verdict in {"holds", "book wrong"}]
    found.standing = {receipt.claim.path: receipt for receipt in held}
    found.receipts = len(held)
    bare = Node({key: node for key, node in root.map.items() if key != "analyses"}, root.mark)
    for sort, changed in islice(changes(bare), MOST_ANALYSED):
        if not found.standing:
            return found
        with suppress(DlxError, RecursionError):  # no spec any more
            whole = Node({**changed.map, "analyses": root.map["analyses"]}, root.mark)
            for receipt in _of_analyses(experiment.with_root(whole)):
                failed = receipt.verdict == "FAILS" and receipt.ours is not None
                if failed and found.standing.pop(receipt.claim.path, None) is not None:
                    found.broken[sort] += 1
    return found


def _of_analyses(experiment: Experiment) -> list[Receipt]:
    graphs = trace_all(experiment)
    one = declared.judged(VerifiedSpec(experiment, graphs, receipts_of(experiment, graphs)))
    return [receipt for receipt in one.receipts if receipt.claim.analysis is not None]


def changes(root: Node) -> Iterator[tuple[str, Node]]:
    """Yield the sort of a change, and all of the spec with it. Sorts take turns: few of each break most receipts."""
    by_sort: dict[str, list[Change]] = defaultdict(list)
    for path, node in _places(root, ()):
        for change in (*_other_values(path, node), *_other_layers(path, node)):
            by_sort[change[0]].append(change)
    turns = zip_longest(*(found for _, found in sorted(by_sort.items())))
    for sort, path, value in [one for one in chain(*turns) if one is not None][:MOST]:
        yield sort, _with(root, path, value)
    words = {word for _, node in _places(root, ()) for word in (*node.map, node.value) if isinstance(word, str)}
    for kind in sorted(words & set(LAYERS)):
        yield "kind of layer", _without_kind(root, kind)


def _places(node: Node, path: Path) -> Iterator[tuple[Path, Node]]:
    """Yield all values of a spec, its lists and mappings among them, with the keys that lead there."""
    if path:
        yield path, node
    for key, child in node.map.items() if node.is_map else enumerate(node.list):
        if path or key not in LEFT_OUT:
            yield from _places(child, (*path, key))


def _other_values(path: Path, node: Node) -> Iterator[Change]:
    """Yield other values for a number or a truth value."""
    value = node.value
    sort = next((SORTS[one] for one in path[::-1] if one in SORTS), "other") if path[0] in LAYERS_IN else str(path[0])
    if isinstance(value, bool):
        yield sort, path, not value
    elif isinstance(value, int):
        yield from ((sort, path, other) for other in (value + 1, value - 1, 2 * value))
    elif isinstance(value, float):
        yield from ((sort, path, other) for other in (value * 1.5, value + 0.1, -value))


def _other_layers(path: Path, node: Node) -> Iterator[Change]:
    """Yield what may stand in place of a layer, or nothing, and fewer wires."""
    if path[0] not in LAYERS_IN:
        return
    if isinstance(path[-1], int) and path[-2] in ("layers", "branches", "from"):
        yield "wire" if path[-2] == "from" else "layer", path, None
        if path[-2] == "layers":
            yield "skip", path, {"residual": {"layers": [node.plain()]}}
    if isinstance(node.value, str) and node.value in LAYERS:
        yield "layer", path, "tanh" if node.value == "identity" else "identity"
        yield from (("another layer", path, other) for other in ("batch_norm", {"linear": 3}))
    if not isinstance(path[-1], int) or not node.is_map:
        return
    kind = next((key for key in node.map if key in LAYERS or key == "residual"), None)
    rest = {key: child.plain() for key, child in node.map.items() if key != kind}
    if kind in ("linear", "conv") and "bias" not in node.map[kind].map:
        fields = node.map[kind].plain()
        first = "out_features" if kind == "linear" else "out_channels"
        full = fields if isinstance(fields, dict) else {first: fields}
        yield "bias", path, {kind: {**full, "bias": False}, **rest}
    if kind == "residual":
        inner = node.map[kind].map.get("layers")
        yield from [("wire", path, {"layers": inner.plain(), **rest})] if inner is not None else []
    elif kind is not None:
        yield "layer", path, {"tanh" if kind == "identity" else "identity": None, **rest}
        yield from (("another layer", path, {**other, **rest}) for other in ({"batch_norm": {}}, {"linear": 3}))
        if isinstance(rest.get("from"), list) and len(rest["from"]) > 1:
            yield "wire", path, {"identity": None, **rest, "from": rest["from"][0]}


def _with(node: Node, path: Path, value: Any) -> Node:
    """Return a copy of a tree with another value at a place."""
    if not path:
        return _node(value, node.mark)
    key, *rest = path
    if node.is_map:
        return Node({k: _with(c, tuple(rest), value) if k == key else c for k, c in node.map.items()}, node.mark)
    if not rest and value is None:
        return Node([child for i, child in enumerate(node.list) if i != key], node.mark)
    return Node([_with(c, tuple(rest), value) if i == key else c for i, c in enumerate(node.list)], node.mark)


def _node(value: Any, mark: Mark) -> Node:
    if isinstance(value, dict):
        return Node({key: _node(inner, mark) for key, inner in value.items()}, mark)
    return Node([_node(one, mark) for one in value] if isinstance(value, list) else value, mark)


def _without_kind(node: Node, kind: str) -> Node:
    """Return a spec in which all layers of a kind hand on what they take."""
    if node.is_list:
        return Node([_without_kind(one, kind) for one in node.list], node.mark)
    if node.is_map:
        each = {key: _without_kind(one, kind) for key, one in node.map.items() if key != kind}
        return Node(each | ({"identity": Node(None, node.mark)} if kind in node.map else {}), node.mark)
    return Node("identity", node.mark) if node.value == kind else node


def _free(experiment: Experiment) -> Node:
    """Return a spec without given weights, data and training, in which any width can be another one."""

    def without(node: Node) -> Node:
        if not node.is_map:
            return Node([without(one) for one in node.list], node.mark) if node.is_list else node
        return Node({key: without(one) for key, one in node.map.items() if key not in ("values", "tie")}, node.mark)

    root, held = experiment.written, ("data", "objective", "train", "stages")
    whole = Node({key: without(node) for key, node in root.map.items() if key not in held}, root.mark)
    network = whole.map.get("network")
    if network is not None and network.is_map and "inputs" not in network.map:
        known = trace_all(experiment).one.inputs
        shapes = {name: {"shape": list(shape), "dtype": shape.dtype} for name, shape in known.items()}
        network.map["inputs"] = _node(shapes, root.mark)
    return whole


def untrained(experiment: Experiment) -> list[str]:
    """Return the overrides with which each training of a spec is one step of one seed, and nothing else is done."""
    root = experiment.written
    beside = {"samples", "evaluate_every", "save_every", "early_stopping", "ensemble", "max_time", "average"}
    train, stages = root.map.get("train"), root.map.get("stages")
    own = train.map if train is not None else {}
    changes = ["++track.mlflow=false", "++train.seeds=1"]
    changes += [f"~train.{key}" for key in own if key in {*beside, "epochs", *(("steps",) if stages else ())}]
    if stages is None:
        return [*changes, "++train.steps=1"]
    for number, one in enumerate(stages.list):
        changes += [f"~stages.{number}.train.epochs"] if one.at("train", "epochs") is not None else []
        changes.append(f"++stages.{number}.train.steps=1")
    return changes
