"""What shipped specs claim of quality is computed here otherwise: by a formula, by a rule, by scikit-learn."""

import math
import warnings

import numpy as np
import pytest
import torch
from helpers import SHIPPED
from quality import bits_of_counts, bits_of_kneser_ney, bounds
from scipy.stats import norm, t
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier

from dlx.data.generated.block_graphs import BlockGraphs
from dlx.graph.expect import claims
from dlx.objectives import adversarial
from dlx.spec import load


def data_of(name):
    return load(SHIPPED[name]).data.load()


def flat(x):
    return x.reshape(len(x), -1)


def regressions(x, targets, strength):
    """One logistic regression a target; `strength` is the inverse of the penalty."""
    return [LogisticRegression(C=strength, max_iter=1000).fit(x, y) for y in targets]


def best(measured, better=max):
    return better(measured(strength) for strength in (0.1, 0.3, 1, 3, 10))


# --- generated houses -----------------------------------------------------------------------------------------------


def houses(n, rng):
    """Inputs, the expected price, the price and the log-odds of a sale but for the error of the price."""
    area, age, distance = rng.uniform(40, 200, n), rng.uniform(0, 100, n), rng.uniform(0, 30, n)
    rooms, garden = np.maximum(1, np.round(area / 28 + rng.normal(0, 0.8, n))), rng.exponential(120, n)
    worth = 2000 * area * 0.75 ** (distance / 10) * (1 - 0.003 * age) + 150 * garden
    error = rng.normal(0, 0.05, n)
    odds = 1.5 - 0.12 * distance - 0.02 * (age - 50) + 0.5 * (rooms > 3)
    sold = rng.uniform(size=n) < 1 / (1 + np.exp(8 * error - odds))
    inputs = np.stack([area, rooms, age, distance, garden, rng.integers(0, 6, n)], 1)
    return inputs, worth * math.exp(0.05**2 / 2), worth * np.exp(error), odds, sold


def r2(prediction, y):
    return 1 - ((y - prediction) ** 2).sum() / ((y - y.mean()) ** 2).sum()


def test_prices_lie_between_least_squares_and_the_formula():
    rng = np.random.default_rng(1)
    inputs, expected, price, *_ = houses(300_000, rng)
    claimed = bounds("zoo/house_sales")["test/price/r2"]

    assert LinearRegression().fit(inputs, price).score(inputs, price) == pytest.approx(claimed["at_least"], abs=1e-3)
    assert r2(expected, price) == pytest.approx(0.985, abs=1e-3)
    of_400 = [r2(*houses(400, rng)[1:3]) for _ in range(2000)]
    assert np.quantile(of_400, 0.999) == pytest.approx(claimed["at_most"], abs=1e-3)


def test_sales_are_ranked_as_well_as_by_the_formula_within_the_error_of_the_test():
    *_, odds, sold = houses(300_000, np.random.default_rng(1))
    claimed = bounds("zoo/house_sales")["test/sold/auroc"]
    area = claimed["about"]

    assert roc_auc_score(sold, odds) == pytest.approx(area, abs=2e-3)
    both = area / (2 - area) + 2 * area**2 / (1 + area) - 2 * area**2
    variance = (area * (1 - area) + 199 * both) / 200**2
    assert 1.96 * math.sqrt(variance) == pytest.approx(claimed["within"], abs=5e-4)


# --- scikit-learn on the same split ---------------------------------------------------------------------------------


def test_eight_tasks_by_logistic_regression():
    sets = data_of("zoo/eight_tasks")
    names = [f"task_{i}" for i in range(1, 9)]
    train, test = ([sets.values(part, name) for name in names] for part in (sets.train, sets.test))

    def loss(strength):
        fitted = regressions(sets.train.x, train, strength)
        return sum(log_loss(y, one.predict_proba(sets.test.x)) for one, y in zip(fitted, test, strict=True))

    assert best(loss, min) == pytest.approx(bounds("zoo/eight_tasks")["test/loss"]["at_most"], abs=5e-3)


def test_labels_by_logistic_regression():
    name = "zoo/multi_label"
    many, claimed = load(SHIPPED[name], ["data.label_sets.train=100_000"]).data.load(), bounds(name)
    test = data_of(name).test
    assert np.array_equal(test.x, many.test.x)

    scores = [one.decision_function(test.x) for one in regressions(many.train.x, many.train.y.T, math.inf)]
    for metric, score in {"auprc": average_precision_score, "auroc": roc_auc_score}.items():
        found = np.mean([score(*pair) for pair in zip(test.y.T, scores, strict=True)])
        assert found == pytest.approx(claimed[f"test/{metric}"]["at_least"], abs=1e-3)
    assert test.y.mean() == pytest.approx(0.26, abs=0.01)


def test_pairs_by_logistic_regression_and_triplets_by_the_distance_of_their_pixels():
    sets = data_of("zoo/siamese-digits")
    train, test = (flat(np.abs(part.x - part.more["right"])) for part in (sets.train, sets.test))
    same, true = sets.train.y.ravel(), sets.test.y.ravel()
    found = best(lambda strength: regressions(train, [same], strength)[0].score(test, true))
    assert found == pytest.approx(bounds("zoo/siamese-digits")["test/accuracy"]["at_least"], abs=1e-3)
    assert true.mean() == 0.5

    part = data_of("zoo/triplets-digits").test
    to = {name: np.linalg.norm(flat(part.x - part.more[name]), axis=1) for name in ("first", "second")}
    right = np.mean((to["first"] < to["second"]) == (part.y.ravel() == 0))
    claimed = bounds("zoo/triplets-digits")["test/accuracy"]["at_least"]
    assert claimed - 2e-3 < right <= claimed


@pytest.mark.slow
def test_the_student_alone_by_scikit_learn():
    sets, claimed = data_of("zoo/distillation"), bounds("zoo/distillation")["test/accuracy"]["at_least"]
    options = {"batch_size": 50, "learning_rate_init": 0.01, "max_iter": 60, "alpha": 0, "n_iter_no_change": 100}
    with pytest.warns(UserWarning, match="Maximum iterations"):
        found = [
            MLPClassifier((64,), random_state=seed, **options).fit(flat(sets.train.x), sets.train.y)
            .score(flat(sets.test.x), sets.test.y)
            for seed in range(8)
        ]  # fmt: skip
    half = t.ppf(0.975, 7) * np.std(found, ddof=1) / math.sqrt(8)
    assert np.mean(found) + half == pytest.approx(claimed, abs=2e-3)
    assert np.mean(found) < claimed


# --- graphs ---------------------------------------------------------------------------------------------------------


def test_graphs_by_the_mean_product_over_their_edges():
    part = data_of("zoo/graph-classes").test
    x, edges = part.x[..., 0], part.more["adjacency"].astype(float)
    mean = np.einsum("nij,ni,nj->n", edges, x, x) / edges.sum((1, 2))
    nearest = np.abs(mean[:, None] - [0.8, 0, -0.8]).argmin(1)
    assert (nearest == part.y).mean() == pytest.approx(0.975, abs=1e-6)
    merged = (np.where(nearest == 2, 0, nearest) == part.y).mean()  # without the sign
    assert merged < 2 / 3
    claimed = bounds("zoo/graph-classes")["test/accuracy"]["at_least"]
    assert 2 / 3 + 1.96 * math.sqrt(2 / 9 / 600) == pytest.approx(claimed, abs=1e-3)


def test_nodes_by_bayes_rule_for_a_node_and_its_neighbours():
    """The block of a neighbour is the own one with probability 0.9, and a value is -1 or 1 with a deviation of 2."""
    part = BlockGraphs(targets="nodes", noise=2, train=6000, valid=0, test=0, seed=1).load().train
    x, edges, there = part.x[..., 0], part.more["adjacency"], part.more["mask"]
    own = 2 * x / 2**2
    told = np.log((0.9 * np.exp(own) + 0.1) / (0.1 * np.exp(own) + 0.9))
    odds = own + np.einsum("nij,nj->ni", edges, told)

    def accuracy(score):
        return ((score > 0) == part.y)[there].mean()

    assert accuracy(own) == pytest.approx(norm.cdf(0.5), abs=4e-3)
    claimed = bounds("zoo/graph-nodes")["test/accuracy"]["at_least"]
    assert accuracy(odds) == pytest.approx(0.820, abs=3e-3)
    assert accuracy(odds) < claimed


# --- pictures with a hole -------------------------------------------------------------------------------------------


def harmonic(image, mask):
    """Fill the hole so that each of its pixels is the mean of its neighbours."""
    hole = [tuple(at) for at in np.argwhere(mask == 0)]
    matrix, right = np.zeros((len(hole), len(hole))), np.zeros(len(hole))
    for k, (i, j) in enumerate(hole):
        for at in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
            if min(at) < 0 or max(at) >= len(image):
                continue
            matrix[k, k] += 1
            if at in hole:
                matrix[k, hole.index(at)] -= 1
            else:
                right[k] += image[at]
    filled = image.astype(float)
    filled[tuple(np.transpose(hole))] = np.linalg.solve(matrix, right)
    return filled


def test_holes_by_laplaces_equation():
    part = data_of("zoo/inpainting").test
    errors = [
        (harmonic(image[0], mask[0]) - whole[0]) ** 2
        for image, mask, whole in zip(part.x, part.more["mask"], part.y, strict=True)
    ]
    claimed = bounds("zoo/inpainting")["test/mse"]["at_most"]
    assert np.mean(errors) == pytest.approx(claimed, abs=5e-5)
    assert claimed < 0.25 * 36 / 256  # of the mean of all pictures
    assert (part.y[part.more["mask"] == 0] ** 2).mean() == pytest.approx(0.25, abs=0.01)


def test_every_generated_zoo_spec_that_trains_claims_quality():
    names = [name for name in SHIPPED if name.startswith("zoo/") and load(SHIPPED[name]).data is not None]
    trained = [name for name in names if load(SHIPPED[name]).train is not None]
    assert {name for name in trained if not _of_results(load(SHIPPED[name]))} == set()


def _of_results(experiment):
    """Whether a spec claims something of what its training makes, or of what an analysis of it shows."""
    stated = [one for section in ("expect", "recorded") for one in claims(experiment, section)]
    return any(one.trained or one.quantity.startswith("analysis/") for one in stated)


# --- few labels -----------------------------------------------------------------------------------------------------


def test_pseudo_labels_beat_the_nearest_of_the_labelled_digits():
    sets = data_of("zoo/pseudo-labels")
    labelled = KNeighborsClassifier(1).fit(flat(sets.train.x)[:40], sets.train.y[:40])
    alone = labelled.score(flat(sets.test.x), sets.test.y)
    error = math.sqrt(alone * (1 - alone) / len(sets.test))

    assert bounds("zoo/pseudo-labels")["test/accuracy"]["at_least"] == pytest.approx(alone + error, abs=5e-4)


def test_what_was_learned_without_labels_beats_the_nearest_of_the_labelled_digits():
    sets = load(SHIPPED["zoo/rotation"]).data.load()
    few = KNeighborsClassifier(1).fit(flat(sets.train.x)[:40], sets.train.y[:40])
    alone = few.score(flat(sets.test.x), sets.test.y)

    assert bounds("zoo/rotation")["test/accuracy"]["at_least"] == pytest.approx(alone, abs=5e-4)
    error = math.sqrt(alone * (1 - alone) / len(sets.test))
    assert bounds("zoo/simclr")["test/accuracy"]["at_least"] == pytest.approx(alone + error, abs=5e-4)


def test_sharpness_aware_steps_beat_logistic_regression_on_wrong_labels():
    sets = data_of("zoo/sam")
    linear = LogisticRegression(max_iter=1000).fit(flat(sets.train.x), sets.train.y)
    found = linear.score(flat(sets.test.x), sets.test.y)
    assert bounds("zoo/sam")["test/accuracy"]["at_least"] == pytest.approx(found, abs=2e-3)


def test_a_draw_from_the_posterior_fits_worse_than_least_squares_by_half_a_temperature_a_weight():
    sets, claimed = data_of("zoo/sgld"), bounds("zoo/sgld")["train/loss"]
    optimizer = load(SHIPPED["zoo/sgld"]).train.optimizer
    n, outputs = sets.train.y.shape
    assert optimizer.temperature == pytest.approx(2 * 0.5**2 / (n * outputs))
    x = np.c_[sets.train.x, np.ones(n)]
    least = ((x @ np.linalg.lstsq(x, sets.train.y, rcond=None)[0] - sets.train.y) ** 2).mean()
    curvature = np.linalg.eigvalsh(2 * x.T @ x / (n * outputs))
    each = optimizer.temperature / 2 / (1 - optimizer.lr * curvature / 2)  # of the loss along an axis, on average
    assert claimed["about"] == pytest.approx(least + outputs * each.sum(), abs=1e-4)
    deviation = math.sqrt(2 * outputs * (each**2).sum())
    assert claimed["within"] == pytest.approx(4 * deviation, abs=3e-4)
    assert claimed["about"] - least > 5 * claimed["within"]  # of temperature 0


def test_a_character_model_beats_counts_of_three_letters():
    text = (SHIPPED["zoo/char-lstm"].parent / "texts" / "coriolanus.txt").read_text()

    assert bounds("zoo/char-lstm")["test/bits_per_character"]["at_most"] == pytest.approx(
        bits_of_counts(text), abs=5e-3
    )


def test_a_gpt_beats_counts_of_three_letters_that_take_the_shorter_ones_where_they_know_nothing():
    text = (SHIPPED["zoo/gpt"].parent / "texts" / "coriolanus.txt").read_text()

    assert bounds("zoo/gpt")["test/bits_per_character"]["at_most"] == pytest.approx(
        bits_of_kneser_ney(text, 3), abs=1e-2
    )


def mu_law_bounds(classes):
    """Values between two classes of G.711's mu-law, mu = classes - 1."""
    mu = classes - 1
    place = 2 * (np.arange(1, classes) - 0.5) / mu - 1
    return np.sign(place) * ((1 + mu) ** np.abs(place) - 1) / mu


def loss_of_errors(errors, mean, y, classes=64):
    """Cross-entropy of classes whose values have errors of a distribution around a mean (n, steps)."""
    below = errors.cdf(mu_law_bounds(classes) - mean[..., None])
    edges = np.concatenate([0 * mean[..., None], below, 0 * mean[..., None] + 1], -1)
    p = np.take_along_axis(np.diff(edges), y[..., None], -1)
    return -np.log(p * (1 - 1e-4) + 1e-4 / classes).mean()


def test_a_stack_of_dilated_convolutions_lies_between_autoregression_and_known_sines():
    sets, order = data_of("zoo/wavenet-waves"), 32

    def past(x):
        x = np.concatenate([np.zeros((len(x), order - 1)), x[:, 0]], 1)
        return np.stack([x[:, i : x.shape[1] - order + 1 + i] for i in range(order)], -1)

    mu = 63
    place = 2 * sets.train.y / mu - 1
    values = np.sign(place) * ((1 + mu) ** np.abs(place) - 1) / mu
    rows = past(sets.train.x)
    weights = np.linalg.lstsq(rows.reshape(-1, order), values.ravel(), rcond=None)[0]
    errors = t(*t.fit((rows @ weights - values).ravel()[::50], floc=0))
    loss = loss_of_errors(errors, past(sets.test.x) @ weights, sets.test.y)

    rng = np.random.default_rng([0, 2])  # the third stream of the data: its test part
    frequency = rng.uniform(0.01, 0.1, (200, 2, 1))
    phase, share = rng.uniform(0, 2 * np.pi, frequency.shape), rng.uniform(0, 1, frequency.shape)
    sines = share / share.sum(1, keepdims=True) * np.sin(2 * np.pi * frequency * np.arange(1, 257) + phase)

    claimed = bounds("zoo/wavenet-waves")["test/loss"]
    assert claimed["at_most"] == pytest.approx(loss, abs=5e-3)
    known = loss_of_errors(norm(scale=0.02), sines.sum(1), sets.test.y)
    assert claimed["at_least"] == pytest.approx(known, abs=5e-3)


@pytest.mark.slow
def test_a_ticket_is_not_worse_than_a_dense_network_of_as_many_weights():
    sets = data_of("zoo/lottery-ticket")
    x, y, test = flat(sets.train.x), sets.train.y, flat(sets.test.x)

    def score(seed):
        network = MLPClassifier((31, 31), max_iter=40, learning_rate_init=5e-3, batch_size=100, random_state=seed)
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
            return network.fit(x, y).score(test, sets.test.y)

    scores = [score(seed) for seed in range(6)]
    claimed = bounds("zoo/lottery-ticket")["test/accuracy"]["at_least"]
    assert claimed == pytest.approx(np.mean(scores) - np.std(scores, ddof=1), abs=2e-3)


# --- samples --------------------------------------------------------------------------------------------------------


def of_fitted_normal(name, measure, draws=20):
    """The mean metric of samples of the normal distribution of the training part, as many as the test part has."""
    sets, rng = data_of(name), np.random.default_rng(0)
    x, test = flat(sets.train.x).astype(float), torch.from_numpy(flat(sets.test.x))
    covariance = np.atleast_2d(np.cov(x.T))
    made = (rng.multivariate_normal(x.mean(0), covariance, len(test)).astype(np.float32) for _ in range(draws))
    found = [measure(test, torch.from_numpy(one), torch.from_numpy(sets.test.y)) for one in made]
    return np.mean([float(one) for one in found])


@pytest.mark.parametrize("name", ["gan", "gan-1d", "wgan", "wgan-gp"])
def test_samples_are_on_more_clouds_than_those_of_a_normal_distribution(name):
    claimed = bounds(f"zoo/{name}")
    on = of_fitted_normal(f"zoo/{name}", lambda x, made, y: adversarial.on_clusters(x, y, made)["on_cluster"])
    assert on == pytest.approx(0.735 if claimed["test/clusters"]["at_least"] == 2 else 0.07, abs=0.01)
    assert claimed["test/on_cluster"]["at_least"] > on
    rng = torch.Generator().manual_seed(0)
    away = of_fitted_normal(f"zoo/{name}", lambda x, made, _: adversarial.sliced_wasserstein(x, made, rng))
    if "test/sliced_wasserstein" in claimed:
        assert (
            claimed["test/sliced_wasserstein"]["at_most"]
            < away
            < claimed["test/sliced_wasserstein"]["at_most"] + 0.05
        )


def test_digits_are_better_than_those_of_a_normal_distribution():
    """By two of its standard deviations each are above the mean of such samples."""
    for i, metric in enumerate(("precision", "coverage")):
        found = of_fitted_normal(
            "zoo/dcgan", lambda x, made, _, i=i: adversarial.precision_and_coverage(x, made.clamp(0, 1))[i]
        )
        assert found + 0.01 < bounds("zoo/dcgan")[f"test/{metric}"]["at_least"] < found + 0.05


def test_a_discriminator_that_guesses_has_the_likelihood_of_a_coin():
    claimed = bounds("zoo/gan")["test/discriminator/nll"]
    assert claimed["about"] == pytest.approx(math.log(2), abs=1e-3)
    right = 0.65
    entropy = -right * math.log(right) - (1 - right) * math.log(1 - right)
    assert claimed["about"] - claimed["within"] == pytest.approx(entropy, abs=1e-3)


def test_partners_are_nearer_than_the_mean_of_their_side():
    sets, claimed = data_of("zoo/cycle"), bounds("zoo/cycle")
    train, test = sets.train, sets.test
    errors = np.abs(test.y - train.more["b"].mean(0)).mean(), np.abs(test.more["b_in_a"] - train.x.mean(0)).mean()
    assert errors == pytest.approx((0.293, 0.314), abs=2e-3)
    assert max(claimed[f"test/error_{way}"]["at_most"] for way in ("ab", "ba")) < min(errors)
