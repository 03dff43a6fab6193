"""Trials on a Ray cluster of two nodes, on this machine: `make test-ray`."""

import os
import sys
import textwrap
from pathlib import Path

import pytest
from studies import HALVING, RATE, WIDTH, journal, spec_in, swept

from dlx.errors import DlxError

HOW = [RATE, WIDTH, HALVING, "++sweep.sampler=tpe", "++sweep.generation=4", "+train.save_every=2", "train.epochs=60"]
SCRIPT = """\
import sys
from pathlib import Path

from ray.cluster_utils import Cluster
import ray

sys.path.insert(0, sys.argv[4])
from studies import swept
from dlx.sweeps.events import TaskEnded

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
second = cluster.add_node(num_cpus=1)
ray.init(address=cluster.address, log_to_driver=False)
nodes = []


def callback(event):
    nodes.append(sum(node["Alive"] for node in ray.nodes()))
    if isinstance(event, TaskEnded) and len(cluster.list_all_nodes()) == 2 and sys.argv[3] == "kill":
        cluster.remove_node(second, allow_graceful=False)


swept(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[5:], trials=6, backend="ray", jobs=2, callback=callback)
print("nodes", nodes[0], "and", len(cluster.list_all_nodes()))
ray.shutdown()
cluster.shutdown()
"""


def test_without_ray_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DlxError) as refused:
        swept(spec_in(tmp_path), tmp_path / "runs", RATE, trials=1, backend="ray")
    (problem,) = refused.value.problems
    assert problem.message == "Ray is not installed"
    assert "pip install 'dlx[ray]'" in problem.hint


@pytest.mark.slow
@pytest.mark.parametrize("end", ["live", "kill"])
def test_two_nodes_make_the_study_of_one_process_even_where_one_of_them_dies(tmp_path, end):
    pytest.importorskip("ray")  # `make test-ray` installs it
    import subprocess

    script = tmp_path / "on_two_nodes.py"
    script.write_text(textwrap.dedent(SCRIPT))
    spec, runs, here = spec_in(tmp_path), tmp_path / "ray", Path(__file__).parent
    argv = [sys.executable, str(script), str(spec), str(runs), end, str(here), *HOW]
    paths = os.pathsep.join([str(here), str(here.parents[1])])  # for the processes of Ray, too
    done = subprocess.run(argv, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths}, timeout=300)
    whole = swept(spec, tmp_path / "whole", *HOW, trials=6)

    assert done.returncode == 0, done.stderr
    assert f"nodes 2 and {1 if end == 'kill' else 2}\n" in done.stdout
    (folder,) = runs.glob("s/sweep-*")
    assert journal(folder) == journal(whole)
