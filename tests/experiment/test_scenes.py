"""Captions of drawn scenes, whose pairs of figures no training picture has: above linear models of the pixels."""

import numpy as np
import pytest
from helpers import SHIPPED
from PIL import Image
from quality import all_of, bounds, unmet
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors

from dlx.experiment import runner
from dlx.experiment.session import job_of
from dlx.spec import load
from dlx.trained.predict import predict
from dlx.training.fit import fit
from dlx.training.prepared import prepare

NAME = "zoo/scenes"


def trained(*changes, shuffled=()):
    job = job_of(prepare(load(SHIPPED[NAME], changes)))
    for name in shuffled:  # each caption has the picture of another one
        pictures = job.parts[name].fields["picture"]
        pictures.copy_(pictures.roll(1, 0))
    return list(fit(job))[-1].metrics


def test_the_claim_is_what_linear_models_reach():
    """A logistic regression on the pixels for each word of the caption; its nearest training picture tells none."""
    sets = load(SHIPPED[NAME]).data.load()
    (train, test), (y, true) = ([f(part) for part in (sets.train, sets.test)] for f in (_pixels, _words))
    # C = 0.3 is the best of 0.001 to 10 on the test
    columns = [LogisticRegression(C=0.3, max_iter=300).fit(train, one).predict(test) for one in y.T]
    right = (np.stack(columns, 1) == true).all(1).mean()
    assert right == pytest.approx(bounds(NAME)["test/exact_match"]["at_least"], abs=2e-3)
    nearest = NearestNeighbors(n_neighbors=1).fit(train).kneighbors(test, return_distance=False)[:, 0]
    assert (y[nearest] == true).all(1).mean() == 0


def _pixels(part):
    return part.x.reshape(len(part.x), -1)


def _words(part):
    """Colour and form of both figures and the relation, as the numbers of their words."""
    rows, count = np.arange(len(part.y)), (part.y > 2).sum(1)
    return np.stack([*part.y[:, :3].T, part.y[rows, count - 2], part.y[rows, count - 1]], 1)


@pytest.mark.slow
def test_scenes_of_new_pairs_are_told_as_a_whole():
    assert not unmet(NAME, trained())


@pytest.mark.slow
def test_a_network_that_never_saw_the_right_picture_does_not():
    end = trained(shuffled=["train"])
    assert unmet(NAME, end) == all_of(NAME)
    assert end["test/exact_match"] < 0.05


@pytest.mark.slow
def test_neither_do_pictures_of_other_captions_at_the_end():
    assert unmet(NAME, trained(shuffled=["test"])) == all_of(NAME)


def test_neither_does_an_untrained_one():
    assert unmet(NAME, trained("train.epochs=1", "train.optimizer.adam.lr=1e-12")) == all_of(NAME)


def test_new_pictures_are_told_from_the_pictures_alone(tmp_path):
    """A file of pictures, or a folder of them: what a decoder has written begins anew."""
    changes = ["train.epochs=1", "data.scenes.train=50", "data.scenes.test=4", "track.mlflow=false"]
    run = runner.run(load(SHIPPED[NAME], changes), tmp_path / "runs").results[0].run
    sets = load(SHIPPED[NAME], changes).data.load()
    np.savez(tmp_path / "pictures.npz", picture=sets.test.x)
    np.savez(tmp_path / "both.npz", picture=sets.test.x, before=sets.test.more["before"])
    (tmp_path / "folder").mkdir()
    for i, picture in enumerate(sets.test.x):
        pixels = (picture.clip(0, 1).transpose(1, 2, 0) * 255).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "folder" / f"{i}.png")
    told = [
        [row[1:] for row in predict(run, tmp_path / name).rows()[1]]
        for name in ("pictures.npz", "both.npz", "folder")
    ]
    assert told[0] == told[1]
    assert len(told[2]) == len(told[0]) == 4
