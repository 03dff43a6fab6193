"""One rule for the names of runs: whatever command takes a name, it is the same run."""

import pytest
from report.made_runs import made_run

from dlx.api import arguments
from dlx.errors import DlxError
from dlx.report.plot_groups import groups
from dlx.runs import lookup
from dlx.trained.difference import groups_of

END = {"metrics": {"valid/error": 0.1}}


@pytest.fixture
def root(tmp_path):
    """Two specs under one name, the newer one running, and a third run of another name."""
    made_run(tmp_path, seed=0, number=1, width=8, end=END)
    made_run(tmp_path, seed=1, number=2, width=8, end=END)
    made_run(tmp_path, seed=0, number=3, width=16, end=END)
    made_run(tmp_path, seed=0, number=4, width=32)
    made_run(tmp_path, "other", number=5, end=END)
    return tmp_path


def ids(group):
    return [run.id[13:15] for run in group.runs]


def test_a_name_is_the_newest_of_its_runs_in_every_command(root):
    assert lookup.find("wide", root).id[13:15] == "04"
    assert arguments.run_folder("wide", root).id[13:15] == "04"
    (drawn,) = groups(["wide"], root)
    assert ids(drawn) == ["04"]


def test_the_runs_of_a_name_are_those_of_its_folder_alone(root):
    for name in ("wide", "other", "wide/"):
        expected = [run.dir for run in lookup.all_runs(root) if run.name == name.rstrip("/")]
        assert [run.dir for run in lookup.of_name(name, root)] == expected
    for folder in (root, root / "wide", lookup.find("wide", root).dir):
        assert [lookup.of_name(name, folder) for name in (".", "..", "", "wi", "absent")] == [[]] * 5


def test_a_name_that_is_shaped_like_an_id_gives_way_to_the_run_with_that_id(root):
    (run,) = lookup.of_name("other", root)
    made_run(root, run.id, number=6, end=END)
    assert lookup.find(run.id, root).dir == run.dir
    assert lookup.find(run.id + "/", root).name == run.id


def test_a_text_that_is_too_long_for_a_name_names_no_run(root):
    assert lookup.of_name("x" * 5000, root) == []
    with pytest.raises(DlxError, match="there is no run"):
        lookup.find("x" * 5000, root)


def test_comparing_needs_results_and_passes_over_what_has_not_finished(root):
    (group,) = groups_of("wide", root)
    assert ids(group) == ["03"]
    with pytest.raises(DlxError, match="is died, and has no results to compare"):
        groups_of(lookup.find("wide", root).key, root)


def test_a_run_brings_along_those_that_differ_in_seed_alone(root):
    key = next(run.key for run in lookup.all_runs(root) if run.id[13:15] == "01")
    assert ids(groups([key], root)[0]) == ids(groups_of(key, root)[0]) == ["01", "02"]
    assert [ids(one) for one in groups([key], root, each=True)] == [["01"]]


def test_a_name_brings_its_baselines_along_and_each_of_them_once(root):
    for number in (6, 7):
        baseline = made_run(root, seed=0, number=number, width=32, end=END)
        baseline.write_json("baseline.json", {"label": "knn (n_neighbors 3)", "random": False})
    for found in (groups_of("wide", root), groups(["wide"], root)):
        assert [ids(one)[-1:] for one in found][1:] == [["07"]]
    assert lookup.find("wide", root).id[13:15] == "04"
