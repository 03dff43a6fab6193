"""Torch is imported beside the data of dlx's own kinds alone."""

import subprocess
import sys

PLUGIN = """\
import sys
import time
from typing import ClassVar

from dlx.data.generated.synthetic import Synthetic


class Curious(Synthetic):
    \"\"\"Data of a package that looks whether torch is there, as those do that take arrays of any kind.

    Shapes: inputs (*shape). Source: none.
    \"\"\"

    kind: ClassVar[str] = "curious"

    def load(self):
        for _ in range(300):
            if "torch" in sys.modules:
                print(sys.modules["torch"].Tensor)
            time.sleep(0.001)
        return super().load()
"""
SPEC = """\
plugins: [curious.py]
data: {curious: {shape: [6], classes: 3, train: 32, valid: 8, test: null}}
network: {layers: [{linear: 3}]}
objective: classification
train: {epochs: 1}
track: {mlflow: false}
"""


def test_data_of_a_plugin_sees_no_torch_that_is_half_imported(tmp_path):
    (tmp_path / "curious.py").write_text(PLUGIN)
    (tmp_path / "s.yaml").write_text(SPEC)
    found = subprocess.run(
        [sys.executable, "-m", "dlx", "train", "s.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
