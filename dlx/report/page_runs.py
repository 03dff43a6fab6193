"""What a page says of the runs themselves: their networks, costs, specs and environment."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import DlxError, plural
from ..runs.folder import RunFolder
from ..spec.validation import shown
from ..trained.difference import RunGroup
from ..trained.run_settings import leaves, settings
from ..training.checkpoints.checkpoint import graphs_of
from .diagram import diagram_html
from .looks import last_sheets
from .page_html import Markup, facts, folded, image, joined, paragraph, table, text
from .plot import Drawing
from .plot_records import Curves
from .plot_values import experiment_of

MOST_LAYERS = 400
HASH_DIGITS = 12
"""Digits by which two hashes are told apart in a table."""
MOST_OF_DIAGRAMS = 1_500_000
"""Characters of all diagrams of a page; those beyond are left out, with a note."""
MOST_BYTES = 400_000
"""Bytes of a picture of samples that is taken into a page."""


def networks(drawing: Drawing) -> list[Markup]:
    """Return the diagram and the layers of each network that differs from those before it."""
    found: dict[str, tuple[list[str], RunFolder]] = {}
    for group in drawing.groups:
        run = group.runs[0]
        layers = _layers(run.read_json("plan.json"))
        key = str(layers) if layers else run.key
        found.setdefault(key, ([], run))[0].append(group.label)
    parts, left = list[Markup](), MOST_OF_DIAGRAMS
    for labels, run in found.values():
        diagram = _diagram(run, left)
        left -= len(diagram)
        parts += _network(", ".join(labels), run.read_json("plan.json"), diagram)
    return parts


def _diagram(run: RunFolder, most: int) -> Markup:
    """Return the diagram of a run's networks in at most so many characters, else the sentence why there is none."""
    try:
        diagram = diagram_html(graphs_of(run.dir, experiment_of(run)))
    except DlxError as error:
        return paragraph(f"No diagram of {run.key}: {error.problems[0].message}", "note")
    if len(diagram) > most:
        return paragraph(f"No diagram of {run.key}: the page would be too large. `dlx draw` draws it.", "note")
    return Markup(diagram)


def _layers(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the layers of a plan, with the network's name before theirs where there are several."""
    networks = plan.get("networks")
    if isinstance(networks, dict):
        return [one | {"name": f"{name}/{one['name']}"} for name, of in networks.items() for one in of["layers"]]
    layers = plan.get("layers", [])
    return list(layers) if isinstance(layers, list) else []


def _network(label: str, plan: dict[str, Any], diagram: Markup) -> list[Markup]:
    layers = _layers(plan)
    if not layers:
        return [paragraph(label), diagram]
    counts = {name: f"{plan[name]:,}" for name in ("params", "macs") if isinstance(plan.get(name), int)}
    words = f"{label}: {plural(len(layers), 'layer')}" + "".join(f", {v} {_unit(k)}" for k, v in counts.items())
    rows = [
        [
            one["name"],
            one["kind"],
            "x".join(map(str, one.get("shape", []))),
            f"{one.get('params', 0):,}",
            f"{one.get('macs', 0):,}",
            _field(one.get("receptive_field")),
        ]
        for one in layers[:MOST_LAYERS]
    ]
    titles = ["layer", "kind", "shape", ">parameters", ">MACs", "receptive field"]
    left = f"{len(layers) - MOST_LAYERS:,} more layers" if len(layers) > MOST_LAYERS else ""
    return [
        paragraph(words),
        diagram,
        folded("Layers", joined([table(titles, rows), paragraph(left, "note")])),
    ]


def _unit(name: str) -> str:
    return {"params": "parameters", "macs": "MACs of one sample, forward"}[name]


def _field(found: Any) -> str:
    """Write a receptive field: its size on each axis."""
    if isinstance(found, dict):
        size = found.get("size")
        return "x".join(map(str, size)) if isinstance(size, list) else ""
    return found if isinstance(found, str) else ""


def samples(drawing: Drawing) -> list[Markup]:
    """Return the last sheet of samples of each name, of the first run of each group."""
    found = []
    for group in drawing.groups:
        for path in last_sheets(group.runs[0]):
            content = path.read_bytes()
            about = f"Samples of {group.label}, {path.stem}"
            small = len(content) <= MOST_BYTES
            found.append(image(content, about) if small else paragraph(f"{about}: {path}", "note"))
    return found


def costs(drawing: Drawing) -> list[Markup]:
    """Return the time of each run, and the memory of its weights and checkpoints."""
    rows = [
        [group.label, run.key, *_costs(run, curves)]
        for group in drawing.groups
        for run, curves in zip(group.runs, drawing.curves[group.label], strict=True)
    ]
    titles = [
        "runs",
        "run",
        ">steps",
        ">seconds",
        ">ms a step",
        ">weights",
        ">checkpoints on disk",
        "how it was stepped",
    ]
    return [table(titles, rows, "Seconds are those of the run's process, evaluations included.")]


def _costs(run: RunFolder, curves: Curves) -> list[str]:
    end, plan, way = run.end() or {}, run.read_json("plan.json"), run.lock().get("way") or {}
    steps, seconds = end.get("step"), end.get("seconds")
    points = [one for one in curves.values() if len(one)]
    if steps is None:
        steps = max((int(one.step[-1]) for one in points), default=0)
    if seconds is not None:  # of the last process alone; the curves have those before a resumption too
        seconds = max([seconds, *(float(one.seconds[-1]) for one in points)])
    rate = f"{1000 * seconds / steps:.3g}" if seconds and steps else ""
    weights = plan.get("params")
    disk = sum(path.stat().st_size for path in (run.dir / "checkpoints").rglob("*") if path.is_file())
    stepped = f"{way.get('step', '')}: {way['because']}" if "because" in way else str(way.get("step", ""))
    return [
        f"{steps:,}",
        "" if seconds is None else f"{seconds:.1f}",
        rate,
        size(4 * weights) if isinstance(weights, int) else "",
        size(disk),
        stepped,
    ]


def size(count: int) -> str:
    """Write a number of bytes with three digits."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}"


# --- specs and environment ------------------------------------------------------------------------------------------


def specs(drawing: Drawing) -> list[Markup]:
    """Return what differs between the specs, and each spec with the lines marked that are not in all of them."""
    each = [settings(group.runs[0]) for group in drawing.groups]
    parts = [_differences(drawing.groups, each)] if len(each) > 1 else []
    texts = [group.runs[0].file("spec.yaml").read_text(errors="replace") for group in drawing.groups]
    lines = [set(one.splitlines()) for one in texts]
    common = set.intersection(*lines) if len(lines) > 1 else None
    alone = len(texts) == 1
    return [
        *parts,
        *(folded(f"Spec of {g.label}", _spec(t, common), alone) for g, t in zip(drawing.groups, texts, strict=True)),
    ]


def _differences(groups: Sequence[RunGroup], each: Sequence[dict[str, str]]) -> Markup:
    keys = list(dict.fromkeys(key for one in each for key in one))
    apart = [key for key in keys if len({one.get(key) for one in each}) > 1]
    if not apart:
        return paragraph("The specs do not differ but in seeds.", "note")
    rows = [[key, *(Markup(f"<mark>{text(one.get(key, ''))}</mark>") for one in each)] for key in apart]
    return table(["key", *(group.label for group in groups)], rows, "Where the specs differ")


def _spec(content: str, common: set[str] | None) -> Markup:
    lines = content.splitlines()
    marked = [
        text(line) if common is None or line in common else Markup(f"<mark>{text(line)}</mark>") for line in lines
    ]
    return Markup(f'<pre tabindex="0"><code>{joined(marked)}</code></pre>')


def environment(drawing: Drawing) -> list[Markup]:
    """Return versions, device and data of each group; what all have in common once."""
    each = [_facts(group.runs[0].lock()) for group in drawing.groups]
    shared = {key: value for key, value in each[0].items() if all(one.get(key) == value for one in each)}
    keys = [key for key in dict.fromkeys(k for one in each for k in one) if key not in shared]
    rows = [[key, *(one.get(key, "") for one in each)] for key in keys]
    parts = [facts(shared)] if shared else []
    return [*parts, *([table(["", *(g.label for g in drawing.groups)], rows, "Where they differ")] if rows else [])]


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{40,}", value) is not None


def _short(value: str) -> Markup:
    """Return a hash by its first digits, with all of them where the mouse rests: all are wider than a page."""
    return Markup(f'<span title="{value}">{value[:HASH_DIGITS]}</span>')


def _facts(lock: Mapping[str, Any]) -> dict[str, str]:
    """Return what a result depends on by its keys, words without the quotes that a spec has."""
    found = leaves({key: value for key, value in lock.items() if key not in HIDDEN})
    return {key: _short(leaf) if _is_hash(leaf) else shown(leaf).strip('"') for key, leaf in found}


HIDDEN = ("pid", "seed", "way", "command", "spec")
"""Facts of a lock that say nothing of what the result depends on."""
