"""Results as DataFrames. pandas is imported when one is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..graph import Graphs, LayerNode
from ..graph.expect import Receipt, format_claim
from ..graph.graph import AnyReceptiveField
from ..runs.folder import RunFolder
from ..runs.records import has_old_loss_name, with_current_names
from ..shapes import ReceptiveField

if TYPE_CHECKING:
    from pandas import DataFrame

    from ..sweeps.leaderboard import LeaderboardRow

MEASURED = ("step", "evaluation")
"""Records that are points of the curves."""


def curves(run: RunFolder) -> DataFrame:
    """Return the curves of a run, a row for each step with a measurement; missing figures are NaN.

    Index: `step`, in updates. Columns: `epoch`, counted from 1; `seconds` since the start; then each metric.
    """
    import pandas as pd

    rows: dict[int, dict[str, float]] = {}
    start = run.started()
    for record in run.records():
        if record["record"] in MEASURED:
            row = rows.setdefault(record["step"], {"epoch": record["epoch"], "seconds": record["time"] - start})
            row |= {"stage": record["stage"]} if "stage" in record else {}
            row |= with_current_names(record["metrics"]) if has_old_loss_name(record) else record["metrics"]
    index = pd.Index(list(rows), name="step", dtype="int64")
    if not rows:
        return pd.DataFrame({"epoch": [], "seconds": []}, index=index, dtype="float64")
    return pd.DataFrame(list(rows.values()), index=index).sort_index()


def beside(frames: Mapping[int, DataFrame]) -> DataFrame:
    """Concatenate the curves of several seeds. Index: `seed`, `step`."""
    import pandas as pd

    return pd.concat(frames, names=["seed"])


def layers(graphs: Graphs) -> DataFrame:
    """A row for each layer in running order; its index is the `name` in the spec.

    Columns: `kind`, `inputs` (names of nodes), `shape` of the output of one example, `params`, `buffers`, `macs`
    (one example, forward), `activation_bytes` (one example, float32), `frozen`; of the main input's receptive field
    `field_size` (or `global`), `field_stride` and `field_start` by axis, None where there is none or it is not known.
    """
    import pandas as pd

    rows = [_layer(name, node) for name, node in graphs.nodes()]
    columns = ["name", *_layer_columns()]
    return pd.DataFrame(rows, columns=columns).set_index("name")


def _layer_columns() -> list[str]:
    counts = ["params", "buffers", "macs", "activation_bytes"]
    return ["kind", "inputs", "shape", *counts, "frozen", "field_size", "field_stride", "field_start"]


def _layer(name: str, node: LayerNode) -> list[Any]:
    counts = [node.params, node.buffers, node.plan.macs, node.activation_bytes]
    return [name, node.kind, node.inputs, tuple(node.shape), *counts, node.frozen, *_axes(node.receptive_field)]


def _axes(field: AnyReceptiveField) -> list[Any]:
    """Size, stride and start of a receptive field by axis."""
    if field == "global" or (isinstance(field, ReceptiveField) and field.is_global):
        return ["global", None, None]
    return [field.size, field.stride, field.start] if isinstance(field, ReceptiveField) else [None, None, None]


def leaderboard(places: Sequence[LeaderboardRow], metric: str) -> DataFrame:
    """Trials in the order of their places. Index: `trial`.

    Columns: `place` (shared by trials whose difference is not significant), `state`, each key that varies, the metric
    (a mean over the seeds), `deviation` and `interval95` (half of the interval of the mean; NaN for one seed),
    `seeds`, `params`, `macs` (one example, forward), `seconds` of training, and `run`, the folder's name of the first
    seed.
    """
    import pandas as pd

    keys = list(dict.fromkeys(key for place in places for key in place.trial.point))
    rows = [
        {
            "trial": place.trial.number,
            "place": place.place,
            "state": place.trial.state,
            **{key: place.trial.point.get(key) for key in keys},
            metric: place.mean,
            "deviation": place.deviation,
            "interval95": place.interval,
            "seeds": place.seeds,
            "params": place.trial.params,
            "macs": place.trial.macs,
            "seconds": place.trial.seconds,
            "run": next(iter(place.trial.runs.values()), None),
        }
        for place in places
    ]
    figures = ["deviation", "interval95", "seeds", "params", "macs", "seconds", "run"]
    columns = dict.fromkeys(["trial", "place", "state", *keys, metric, *figures])
    frame = pd.DataFrame(rows, columns=list(columns)).set_index("trial")
    return frame.astype({"deviation": "float64", "interval95": "float64"})


def receipts(found: Sequence[Receipt]) -> DataFrame:
    """Claims and their verdicts. Index: `claim`. Columns: `source`, `claimed`, `ours`, `verdict`, `why`."""
    rows = [
        [
            r.claim.title,
            r.claim.source,
            format_claim(r.claim),
            r.ours,
            r.verdict,
            r.why or r.claim.figures.get("because", ""),
        ]
        for r in found
    ]
    return table(["claim", "source", "claimed", "ours", "verdict", "why"], rows, index="claim")


def table(titles: Sequence[str], rows: Iterable[Sequence[Any]], index: str = "") -> DataFrame:
    """Rows under titles, one of which may be the index."""
    import pandas as pd

    frame = pd.DataFrame(list(rows), columns=list(titles))
    return frame.set_index(index) if index else frame
