"""A node that runs another minor version of Python than the controller."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from achilles import VersionMismatch, map
from tests.cluster.conftest import NODE, Cluster
from tests.examples.programs import ROOT, Program

OTHERS = [minor for minor in (12, 13, 14, 11) if minor != sys.version_info[1]]


def _find_other() -> Path | None:
    """Another Python that achilles runs on."""
    for minor in OTHERS:
        on_path = shutil.which(f"python3.{minor}")
        if on_path and subprocess.run([on_path, "-c", ""], capture_output=True, check=False).returncode == 0:
            return Path(on_path)
        pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
        for found in sorted(pyenv.glob(f"versions/3.{minor}.*/bin/python")):
            return found
    return None


@pytest.fixture(scope="session")
def other_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with another Python, and what achilles needs."""
    found = _find_other()
    if found is None:
        pytest.skip("only one version of Python is installed here")
    directory = tmp_path_factory.mktemp("other-python")
    subprocess.run([found, "-m", "venv", directory], check=True, capture_output=True)
    python = directory / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", ROOT]
    installed = subprocess.run(install, check=False, capture_output=True, text=True, timeout=180)
    if installed.returncode:
        pytest.skip(f"achilles could not be installed for {found}: {installed.stderr[-200:]}")
    return python


def test_a_node_of_another_python(cluster: Cluster, other_python: Path) -> None:
    path = cluster.home / "other_node.py"
    path.write_text(NODE.format(port=cluster.port, cpus=1, more=""))
    environment = {**cluster.environment, "PYTHONPATH": ""}
    node = Program(path, cwd=cluster.home, environment=environment, python=other_python)
    cluster.programs.append(node)
    node.wait_for("CLIENT_ID:")
    assert map(abs, [-1, 2, -3], **cluster.where) == [[1], [2], [3]]
    with pytest.raises(VersionMismatch, match="start a node with Python") as refusal:
        map(lambda item: item, [1], **cluster.where)
    assert "move the function into a module of its own" in str(refusal.value)
    module = cluster.home / "own_module.py"
    module.write_text("def triple(item):\n    return 3 * item\n")
    call = f"print(map(own_module.triple, [5], **{cluster.where}))"
    assert cluster.run("script", f"from achilles import map\nimport own_module\n{call}\n").wait_for("[[15]]")
