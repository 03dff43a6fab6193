"""Features of examples as a map of two dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from ...errors import DlxError, Problem
from ...lazy import np
from ...spec.analyses import Analysis
from ..features import Chosen, chosen_examples, class_problems, features_of, last_hidden
from ..layers import unknown_names
from ..measures.over_seeds import over_seeds
from ..measures.votes import distances
from ..result import Panel, Points, Result

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..subject import Subject

    Array = npt.NDArray[Any]


class EmbeddingMap(Analysis):
    """Features of examples as points in a plane: t-SNE, UMAP or the first two principal components.

    `trustworthiness` is 1 where all neighbours of a point in the map are its neighbours among the features, and about
    0.5 where the map is drawn blindly (Venna & Kaski 2001, k neighbours); `same_class` is the mean share of the k
    nearest points of the map that have the class of a point, `same_class_features` that among the features.
    t-SNE starts from random points, so that each seed has a map of its own and figures have intervals; from principal
    components, scikit-learn's default, all seeds give the same one. Distances between clusters mean nothing.
    Books: classes are apart where features separate them; t-SNE keeps local neighbourhoods, which linear maps lose.
    """

    kind: ClassVar[str] = "embedding_map"
    source: ClassVar[str] = "van der Maaten & Hinton 2008, JMLR 9, section 4; McInnes et al. 2018, arXiv:1802.03426"
    example: ClassVar[str] = "dlx analyze embedding_map digits/lenet --out map.svg"
    figures: ClassVar[tuple[str, ...]] = (
        "trustworthiness",
        "same_class",
        "same_class_features",
        "trustworthiness_low",
        "trustworthiness_high",
        "same_class_low",
        "same_class_high",
        "same_class_features_low",
        "same_class_features_high",
    )

    method: Literal["tsne", "umap", "pca"] = Field("tsne", description="what makes the map; `umap` needs umap-learn")
    layer: str = Field("", description="node whose values are the features; empty: what the last layer takes")
    examples: PositiveInt = Field(500, ge=10, description="held-out examples that are shown, at most")
    perplexity: PositiveFloat = Field(
        30.0, description="effective number of neighbours of t-SNE; below that of examples"
    )
    neighbours: PositiveInt = Field(15, description="neighbours of UMAP")
    k: PositiveInt = Field(5, description="neighbours by which the map is judged")
    weight_draws: ClassVar[str] = ""
    seeds: PositiveInt = Field(3, description="maps, each from random points of its own; of several runs one each")

    def without_effect(self) -> dict[str, str]:
        by_option = {"perplexity": ("tsne",), "neighbours": ("umap",), "seeds": ("tsne", "umap")}
        why = f"with `method: {self.method}`"
        return {name: why for name, methods in by_option.items() if self.method not in methods}

    def problems(self, subject: Subject) -> list[Problem]:
        """Return what is missing: classes, the layer, the library, examples."""
        found = [
            *class_problems(subject, self.kind),
            *unknown_names(subject.graph, [self.layer]),
        ]
        if len(subject.runs) > 1 and "seeds" in self.model_fields_set:
            message = f"`seeds` has no effect on {len(subject.runs)} runs, of which each has one map"
            found.append(Problem(message, "Leave it out."))
        if self.method == "umap" and not _has_umap():
            found.append(Problem("`method: umap` needs umap-learn, which is not installed",
                                 "Install it: `pip install dlx[umap]`."))  # fmt: skip
        if self.method == "tsne" and self.perplexity >= self.examples:
            message = (
                f"a perplexity of {self.perplexity:g} wants more than as many examples, and there are {self.examples}"
            )
            found.append(Problem(message, "Take a smaller `perplexity`, or more `examples`."))
        return found

    def run(self, subject: Subject) -> Result:
        """Draw the maps and judge them."""
        graph, layer = subject.graph, self.layer or last_hidden(subject.graph)
        chosen = chosen_examples(subject, self.examples)
        if self.method == "tsne" and self.perplexity >= len(chosen.index):
            message = (
                f"the part `{chosen.part}` has {len(chosen.index)} examples, and a perplexity of {self.perplexity:g}"
            )
            raise DlxError(f"{message} wants more", hint="Set a smaller one: `--set perplexity=5`.")
        networks = [subject.network(run=i) for i in range(max(len(subject.runs), 1))]
        features = [features_of(network, graph, chosen.batch, layer) for network in networks]
        draws = 1 if self.method == "pca" else self.seeds
        each = [(x, self._map(x, seed)) for x in features for seed in range(draws if len(features) == 1 else 1)]
        figures = _over_maps([self._judged(x, made, chosen) for x, made in each])
        names = subject.class_names()
        labels = [names[c] for c in chosen.classes]
        order = np.argsort(chosen.classes, kind="stable")  # so that the legend has the classes in their order
        sorted_labels = [labels[i] for i in order]
        panels = tuple(
            Panel(title, "", "", (Points("examples", made[order, 0], made[order, 1], sorted_labels),))
            for title, (_, made) in zip(self._titles(layer, len(each)), each, strict=True)
        )
        rows = [
            [f"{chosen.part} {i}", label, *map(float, at)]
            for i, label, at in zip(chosen.index, labels, each[0][1], strict=True)
        ]
        notes = (f"{len(chosen.index):,} examples of `{chosen.part}`; features are those of `{layer}`",)
        return Result(figures, panels, (("example", "class", "x", "y"), rows), notes, len(each))

    def _titles(self, layer: str, count: int) -> list[str]:
        name = {"tsne": "t-SNE", "umap": "UMAP", "pca": "principal components"}[self.method]
        return [f"{name} of `{layer}`" + (f", map {i + 1}" if count > 1 else "") for i in range(count)]

    def _map(self, x: Array, seed: int) -> Array:
        """Return a map (n, 2) of features (n, values)."""
        from sklearn.decomposition import PCA
        from sklearn.manifold import TSNE

        made: Any = PCA(2, svd_solver="full")
        if self.method == "tsne":
            made = TSNE(2, perplexity=self.perplexity, init="random", random_state=seed)
        elif self.method == "umap":
            return _umap(x, self.neighbours, seed)
        found: Array = made.fit_transform(np.asarray(x, np.float64))
        return found

    def _judged(self, x: Array, made: Array, chosen: Chosen) -> dict[str, float]:
        from sklearn.manifold import trustworthiness

        k = min(self.k, (len(x) - 1) // 2)
        return {
            "trustworthiness": float(trustworthiness(x, made, n_neighbors=k)),
            "same_class": _same(made, chosen.classes, k),
            "same_class_features": _same(x, chosen.classes, k),
        }


def _over_maps(each: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each figure over maps, and the ends of its interval where there are several."""
    found: dict[str, float] = {}
    for name in each[0]:
        mean, low, high = over_seeds([one[name] for one in each])
        found[name] = float(mean)
        if low is not None and high is not None and name != "same_class_features":
            found |= {f"{name}_low": float(low), f"{name}_high": float(high)}
    return found


def _same(x: Array, classes: Array, k: int) -> float:
    """Return the mean share of the k nearest other rows that have the class of a row."""
    apart = distances(x, x, 2)
    np.fill_diagonal(apart, np.inf)
    near = np.argsort(apart, 1, kind="stable")[:, :k]
    return float((classes[near] == classes[:, None]).mean())


def _has_umap() -> bool:
    from importlib.util import find_spec

    return find_spec("umap") is not None


def _umap(x: Array, neighbours: int, seed: int) -> Array:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a seed leaves it one thread is as it is meant
        from umap import UMAP  # type: ignore[import-not-found,import-untyped,unused-ignore]

        made = UMAP(n_neighbors=min(neighbours, len(x) - 1), init="random", random_state=seed)
        found: Array = made.fit_transform(x)
    return found
