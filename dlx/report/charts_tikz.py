r"""Figures as pgfplots, for a document in LaTeX: `\input` of the file, in whose font and size all texts are set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any

from ..lazy import np
from ..utils.latex import escaped
from .charts_style import COLOURS, DASHES
from .plot_figure import DIGITS, Figure, Matrices, Matrix, Series

HEAD = r"""% Made by dlx. In the preamble:
%   \usepackage{pgfplots}
%   \pgfplotsset{compat=1.18}
%   \usepgfplotslibrary{groupplots,fillbetween}
"""
POINTS = 400
"""Points of a curve at most: TeX has little memory."""


def tikz(figure: Figure | Matrices) -> str:
    """Return the picture, one axis a panel."""
    if isinstance(figure, Matrices):
        names = {f"dlx{i}": colour for i, colour in enumerate(COLOURS)}
        axes = [_matrix(one) for one in figure.matrices]
    else:
        names = {f"dlx{i}": COLOURS[i % len(COLOURS)] for i in range(len(figure.labels))}
        axes = [_axis(figure.thinned(POINTS), panel) for panel in figure.panels]
    columns = min(len(axes), 2)
    colours = "".join(f"\\definecolor{{{name}}}{{HTML}}{{{code[1:].upper()}}}\n" for name, code in names.items())
    size = f"group size={columns} by {-(-len(axes) // columns)}"
    group = f"group style={{{size}, horizontal sep=18mm, vertical sep=18mm}}"
    inner = "\n".join(axes)
    legend = "legend style={draw=none, font=\\small, at={(0.5,-0.28)}, anchor=north}"
    fonts = "label style={font=\\small}, tick label style={font=\\footnotesize}"
    return (
        f"{HEAD}{colours}\\begin{{tikzpicture}}\n\\begin{{groupplot}}[{group}, width=80mm, height=56mm,\n"
        f"  axis x line*=bottom, axis y line*=left, {fonts},\n  {legend}]\n{inner}\n"
        "\\end{groupplot}\n\\end{tikzpicture}\n"
    )


def _axis(figure: Figure, panel: str) -> str:
    metrics = figure.metrics(panel)
    title = metrics[0] if len(metrics) == 1 else panel
    options = [f"xlabel={{{escaped(figure.x)}}}", f"ylabel={{{escaped(title)}}}"]
    options += ["ymode=log"] if figure.scale == "log" else []
    options += ["xmode=log"] if figure.x_scale == "log" else []
    series = [one for one in figure.series if one.panel == panel]
    if figure.kind == "bar":
        return _bars(figure, series, panel)
    lines = [f"\\nextgroupplot[{', '.join(options)}]"]
    for number, one in enumerate(series):
        lines += _line(figure, one, metrics, f"{panel}{number}".encode().hex())
    return "\n".join(lines)


def _line(figure: Figure, one: Series, metrics: Sequence[str], name: str) -> list[str]:
    colour = f"dlx{figure.labels.index(one.label)}"
    entry = f"\\addlegendentry{{{escaped(', '.join(_names(figure, one, metrics)))}}}"
    if figure.kind == "scatter":
        return [f"\\addplot[only marks, mark size=1.6pt, {colour}] coordinates {{{_pairs(one.x, one.y)}}};", entry]
    dash = DASHES[metrics.index(one.metric) % len(DASHES)]
    pattern = " ".join(f"{'on' if i % 2 == 0 else 'off'} {n}pt" for i, n in enumerate(dash)) if dash[1] else ""
    style = f"{colour}, thick{f', dash pattern={pattern}' if pattern else ''}"
    lines = []
    if one.low is not None and one.high is not None:
        for end, values in (("low", one.low), ("high", one.high)):
            path = f"name path={name}{end}, draw=none, forget plot"
            lines.append(f"\\addplot[{path}] coordinates {{{_pairs(one.x, values)}}};")
        between = f"of={name}low and {name}high"
        lines.append(f"\\addplot[{colour}, opacity=0.18, forget plot] fill between[{between}];")
    return [*lines, f"\\addplot[{style}] coordinates {{{_pairs(one.x, one.y)}}};", entry]


def _names(figure: Figure, one: Series, metrics: Sequence[str]) -> list[str]:
    label = one.label + (f" (n={one.runs})" if one.label in figure.counts else "")
    return [label] if len(metrics) == 1 else [label, one.metric] if len(figure.labels) > 1 else [one.metric]


def _pairs(x: Any, y: Any) -> str:
    points = [(a, b) for a, b in zip(np.asarray(x).tolist(), np.asarray(y).tolist(), strict=True) if isfinite(b)]
    return " ".join(f"({a if isinstance(a, int) else f'{a:.{DIGITS}g}'},{b:.{DIGITS}g})" for a, b in points)


def _bars(figure: Figure, series: Sequence[Series], panel: str) -> str:
    """Return horizontal bars, the first group at the top."""
    labels = [one.label for one in series]
    ticks = f"ytick={{{_list(range(len(labels)))}}}, yticklabels={{{_list(f'{{{escaped(one)}}}' for one in labels)}}}"
    # the axis of the values lies, so that it is the first
    scale = "xmode=log, log origin=infty" if figure.scale == "log" else "xmin=0" if _from_zero(series) else ""
    options = f"xbar, y dir=reverse, xlabel={{{escaped(panel)}}}, {ticks}, bar width=8pt, bar shift=0pt"
    lines = [f"\\nextgroupplot[{', '.join(filter(None, (options, scale)))}, enlarge y limits=0.3]"]
    for place, one in enumerate(series):
        colour, mean = f"dlx{figure.labels.index(one.label)}", float(one.y.mean())
        bars = ""
        if one.high is not None and one.low is not None:
            up, down = float(one.high[0]) - mean, mean - float(one.low[0])
            bars = f" += ({up:.{DIGITS}g},0) -= ({down:.{DIGITS}g},0)"
        style = f"draw=none, fill={colour}, error bars/.cd, x dir=both, x explicit"
        lines.append(f"\\addplot+[{style}] coordinates {{({mean:.{DIGITS}g},{place}){bars}}};")
    return "\n".join(lines)


def _from_zero(series: Sequence[Series]) -> bool:
    """Return whether no value and no end lies below 0."""
    ends = [one.y if one.low is None else np.minimum(one.y, one.low) for one in series]
    return all((each >= 0).all() for each in ends)


def _list(words: Iterable[object]) -> str:
    return ",".join(map(str, words))


def _matrix(one: Matrix) -> str:
    """Return cells shaded by the share of the targets of their row, each with its count."""
    count = len(one.classes)
    names = _list(f"{{{escaped(name)}}}" for name in one.classes)
    places = _list(range(count))
    cells, words = [], []
    for i, row in enumerate(one.counts):
        total = sum(row) or 1
        for j, number in enumerate(row):
            cells.append(f"({j},{i}) [{number / total:.4f}]")
            ink = "white" if number / total > 0.5 else "black"
            if number and count <= 30:
                words.append(f"\\node[font=\\tiny, text={ink}] at (axis cs:{j},{i}) {{{number}}};")
    options = (
        f"title={{{escaped(f'{one.label}: {one.part}')}}}, xlabel={{predicted}}, ylabel={{target}}, y dir=reverse,\n"
        f"  xtick={{{places}}}, ytick={{{places}}}, xticklabels={{{names}}}, yticklabels={{{names}}},\n"
        "  x tick label style={rotate=90}, enlargelimits=false, point meta min=0, point meta max=1,\n"
        "  colormap={dlx}{rgb255=(238,243,248) rgb255=(8,48,107)}, axis equal image"
    )
    shape = f"matrix plot*, mesh/cols={count}, point meta=explicit"
    return "\n".join(
        [f"\\nextgroupplot[{options}]", f"\\addplot[{shape}] coordinates {{{' '.join(cells)}}};", *words]
    )


__all__ = ["escaped", "tikz"]
