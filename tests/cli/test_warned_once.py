"""What `dlx train` warns of is said once: at the start with the notes, or at the end where these are not shown."""

import pytest
from commands import dlx

SPEC = """\
name: r
data: {table: {path: t.csv, target: k, test: 10}}
network: {layers: [{linear: 2}]}
train: {epochs: 1, batch_size: 10, device: cpu}
track: {mlflow: false}
"""


@pytest.mark.parametrize("options", [(), ("--quiet",)])
def test_a_warning_about_the_data_is_said_once(tmp_path, options):
    rows = [f"{i % 7},{'many' if i == 49 else i % 4},{'ab'[i % 2]}" for i in range(100)]
    (tmp_path / "t.csv").write_text("\n".join(["size,rooms,k", *rows]))
    (tmp_path / "s.yaml").write_text(SPEC)
    done = dlx("train", "s.yaml", *options, cwd=tmp_path, check=True)

    assert " ".join((done.stdout + done.stderr).split()).count("column `rooms` of ") == 1
