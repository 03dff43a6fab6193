"""The specs that claim results of a training: their data fits, and a quick one comes out as its source says."""

import pytest
from helpers import ROOT, SHIPPED

from dlx.claims.verify import after_training, verify
from dlx.graph import trace
from dlx.spec import load

DIGITS = {"images": "t10k-images-idx3-ubyte.gz", "labels": "t10k-labels-idx1-ubyte.gz"}
PICTURES = {"path": "cifar10-train.parquet", "test_path": "cifar10-test.parquet"}


def where(group, kind, files, folder):
    """Changes to a spec that bring it the data of a group."""
    return [f"+data={group}", *(f"data.{kind}.{field}={folder / name}" for field, name in files.items())]


@pytest.mark.parametrize("name", [name for name in SHIPPED if name.startswith("nielsen/ladder/")])
def test_the_ladder_climbs_on_4000_digits_and_is_judged_by_5000_others(name, shared_data):
    experiment = load(SHIPPED[name], where("mnist-10k", "idx", DIGITS, shared_data))

    assert list(trace(experiment).inputs.values()) == [(1, 28, 28)]
    assert experiment.data.part_sizes(10_000) == (4000, 1000, 5000)


@pytest.mark.parametrize("name", [name for name in SHIPPED if name.startswith("udl/degradation-")])
def test_plain_and_residual_networks_take_pictures_at_half_their_size(name, shared_data):
    experiment = load(SHIPPED[name], where("cifar10-16", "images", PICTURES, shared_data))

    assert list(trace(experiment).inputs.values()) == [(3, 16, 16)]


@pytest.mark.parametrize("name", [name for name in SHIPPED if name.startswith("udl/") and name.endswith("-cifar10")])
def test_the_recipe_of_the_paper_takes_45000_pictures(name, shared_data):
    experiment = load(SHIPPED[name], where("cifar10", "images", PICTURES, shared_data))

    assert list(trace(experiment).inputs.values()) == [(3, 32, 32)]
    assert experiment.data.part_sizes(50_000) == (45_000, 5000, 0)


def test_logistic_regression_on_mnist1d_comes_out_as_the_paper_has_it(tmp_path):
    (one,) = verify([ROOT / "specs/mnist1d/logistic.yaml"], ["train.seeds=1", "track.mlflow=false"])

    assert {r.claim.title: r.verdict for r in after_training(one, tmp_path).receipts} == {
        "params": "holds",
        "test/accuracy": "holds",
    }
