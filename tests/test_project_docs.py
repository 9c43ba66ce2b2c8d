"""Run the commands of docs/your_yaml_project.md on the stand-in project."""

import os
import re
import shutil
import subprocess
import sys

import pytest
import torch
from commands import REPO

pytestmark = pytest.mark.slow

BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_yaml_project_page(small_datasets, tmp_path):
    shutil.copytree(REPO / "tests/helpers/standin_project", tmp_path / "MyProject")
    blocks = BLOCK.findall((REPO / "docs/your_yaml_project.md").read_text())
    for language, path, text in blocks:
        if language == "python" and path:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
    shell = [text.replace("\\\n", "") for language, _, text in blocks if language == "sh"]
    commands = [line for text in shell for line in text.splitlines()]
    assert len(commands) == 5
    # A project's own script needs only the installed package, not this repository's configs.
    path = os.pathsep.join([str(REPO), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = dict(os.environ, DETECTRON2_DATASETS=str(small_datasets), OMP_NUM_THREADS="1", PYTHONPATH=path)
    for command in commands:
        words = command.split()[1:]
        words[0] = str(REPO / words[0]) if words[0] == "train_net.py" else words[0]
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-1000:]}{done.stderr[-3000:]}"
    for name in ("teacher", "student", "from_yaml", "my_script"):
        assert (tmp_path / "output/mine" / name / "model_final.pth").is_file()
    by_door, by_script = (
        torch.load(tmp_path / "output/mine" / name / "model_final.pth", weights_only=True)
        for name in ("student", "my_script")
    )
    assert set(by_door["model"]) == set(by_script["model"]) and "s8" not in str(set(by_script["model"]))
    assert set(by_door["distillers"]) == set(by_script["distillers"])
