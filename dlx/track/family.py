"""A run of MLflow with children: how a study and its trials are told. Plain values in, few calls out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..runs import Run
from . import content, model, store
from .sync import BATCH, STATUS, State, log_words, missing

if TYPE_CHECKING:
    from mlflow import MlflowClient

PARENT = "mlflow.parentRunId"
PAGE = 1000


@dataclass
class Family:
    """One parent and its children in one store. Whatever MLflow raises comes through."""

    uri: str
    experiment: str
    key: str
    """What the parent is called in its tag `dlx.study`."""
    experiment_id: str = ""
    run_id: str = ""
    sure: set[str] = field(default_factory=set)
    """Children of which is known what has arrived: they were made here, or asked for."""

    @property
    def client(self) -> MlflowClient:
        return store.connect(self.uri)

    def find(self, name: str, started: float, tags: Mapping[str, str]) -> bool:
        """The parent: that of this id, else the one with its tag, else a new one, which is True."""
        self.experiment_id = store.experiment_id(self.client, self.uri, self.experiment)
        quote = '"' if "'" in self.key else "'"
        search = f"tags.`dlx.study` = {quote}{self.key}{quote} and tags.`dlx.kind` = 'study'"
        found = self.client.search_runs([self.experiment_id], search, max_results=1)
        if found:
            self.run_id = found[0].info.run_id
            return False
        own = content.run_tags(self.key) | {"dlx.study": self.key, "dlx.kind": "study"} | dict(tags)
        self.run_id = self.client.create_run(self.experiment_id, content.milliseconds(started), own, name).info.run_id
        return True

    def children(self) -> dict[str, str]:
        """The ids of those that are there, by their tag `dlx.trial`."""
        found: dict[str, str] = {}
        token = None
        while True:
            page = self.client.search_runs(
                [self.experiment_id], f"tags.`{PARENT}` = '{self.run_id}'", max_results=PAGE, page_token=token
            )
            found |= {run.data.tags["dlx.trial"]: run.info.run_id for run in page if "dlx.trial" in run.data.tags}
            token = page.token
            if not token:
                return found

    def bear(
        self, name: str, started: float, tags: Mapping[str, str], params: Mapping[str, str], sums: Mapping[str, float]
    ) -> str:
        """A new child with what varies as its parameters."""
        from mlflow.entities import Metric, Param

        own = content.run_tags(tags["dlx.run"]) | {PARENT: self.run_id} | dict(tags)
        when = content.milliseconds(started)
        run_id = str(self.client.create_run(self.experiment_id, when, own, name).info.run_id)
        words = [Param(content.name(key), content.cut(value, content.VALUE)) for key, value in params.items()]
        self.client.log_batch(run_id, [Metric(key, v, when, 0) for key, v in sums.items()], words[:100])
        self.sure.add(run_id)
        return run_id

    def tell(self, run_id: str, points: Sequence[content.Point]) -> None:
        """Metrics, each once: of a child that another process had begun with, MLflow is asked what is there."""
        from mlflow.entities import Metric

        left = points if run_id in self.sure else missing(self.client, run_id, points)
        for start in range(0, len(left), BATCH):
            self.client.log_batch(run_id, [Metric(*point) for point in content.storable(left[start : start + BATCH])])
        if tag := content.not_finite_tag(content.not_finite(points, {})):
            self.label(run_id, tag)
        self.sure.add(run_id)

    def label(self, run_id: str, tags: Mapping[str, str], params: Mapping[str, str] | None = None) -> None:
        """Tags, and parameters that are not there yet."""
        log_words(self.client, run_id, params or {}, {key: content.cut(v, content.TAG) for key, v in tags.items()})

    def end(self, run_id: str, state: str, when: float) -> None:
        """How a run stands: finished, stopped, failed or died; anything else is running."""
        if state in STATUS:
            self.client.set_terminated(run_id, STATUS[state], content.milliseconds(when))
        else:
            self.client.update_run(run_id, "RUNNING")

    def attach(self, run_id: str, path: Path, folder: str = "") -> None:
        """A file, as it is now."""
        self.client.log_artifact(run_id, str(path), folder or None)

    def give_model(self, run: Run, run_id: str, known: Mapping[str, str]) -> dict[str, str]:
        """The final weights of a run as the logged model of a child; what is to be known of it the next time."""
        state = _Unsaved(self.uri, self.experiment, self.experiment_id, run_id, end=run.end(), model=dict(known))
        model.deliver(self.client, run, state)
        return state.model


class _Unsaved(State):
    """The state of a child's model: kept by the study, and not in the run's folder."""

    def save(self, run: Run) -> None:
        """Nothing."""


__all__ = ["Family"]
