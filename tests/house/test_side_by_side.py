"""docs/side_by_side.md: its counts are those of the files, and what says it was run here runs."""

import os
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

PAGE = ROOT / "docs/side_by_side.md"
ROW = re.compile(r"\| \[([\w-]+)\]\((side_by_side/\w+\.py)\)[^|]*\| (\d+) \|")

PROGRAMS = {
    "tilegrad_swish": """
x = tilegrad.tensor([-2.0, 0.5, 3.0], requires_grad=True)
y = swish(x, 1.5)
y.sum().backward()
y, grad = y.detach().numpy(), x.grad.numpy()
""",
    "numba_cuda_swish": """
x = cuda.to_device(np.array([-2.0, 0.5, 3.0], np.float32))
y = swish(x, 1.5).copy_to_host()
grad = swish_backward(x, cuda.to_device(np.ones(3, np.float32)), 1.5).copy_to_host()
""",
}
RIGHT = """
x = np.array([-2.0, 0.5, 3.0])
s = 1 / (1 + np.exp(-1.5 * x))
np.testing.assert_allclose(y, x * s, rtol=1e-5)
np.testing.assert_allclose(grad, s * (1 + 1.5 * x * (1 - s)), rtol=1e-5)
"""


def test_the_lines_are_counted():
    rows = ROW.findall(PAGE.read_text())
    assert {path for _, path, _ in rows} == {
        f"side_by_side/{file.name}" for file in (ROOT / "docs/side_by_side").glob("*.py")
    }
    for _, path, count in rows:
        text = (ROOT / "docs" / path).read_text()
        assert len([line for line in text.splitlines() if line.strip()]) == int(count), path


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_was_run_runs(name, tmp_path):
    source = (ROOT / f"docs/side_by_side/{name}.py").read_text()
    program = tmp_path / "program.py"
    program.write_text(f"{source}\nimport numpy as np\n{PROGRAMS[name]}{RIGHT}")
    variables = os.environ | {"PYTHONPATH": str(ROOT / ".dev")}
    if name.startswith("numba"):
        variables["NUMBA_ENABLE_CUDASIM"] = "1"
    done = subprocess.run(
        [sys.executable, program], env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
