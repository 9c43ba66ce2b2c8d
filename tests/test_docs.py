"""The pages in docs/ run as they are written."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from quick_start import run_program
from real_images import with_few_to_evaluate

pytestmark = pytest.mark.slow

REPO = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHORT = ["train.max_iter=2", "dataloader.train.num_workers=0", "dataloader.test.num_workers=0"]
SHORT += ["dataloader.train.total_batch_size=2"]


def run_page(name: str, folder: Path, root: Path, *overrides: str) -> None:
    """Write the page's files into a copy of the configs and run its commands, shortened."""
    shutil.copytree(REPO / "configs", folder / "configs")
    (folder / "assets").symlink_to(REPO / "assets")
    blocks = BLOCK.findall((REPO / "docs" / name).read_text())
    for language, path, text in blocks:
        if language == "python" and path:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
    commands = [line for language, _, text in blocks if language == "sh" for line in text.splitlines()]
    assert commands
    path = os.pathsep.join([str(folder), str(REPO), os.environ.get("PYTHONPATH", "")])
    env = dict(os.environ, DETECTRON2_DATASETS=str(root), OMP_NUM_THREADS="1", PYTHONPATH=path)
    for command in commands:
        words = command.replace("python train_net.py", str(REPO / "train_net.py")).split()
        run = run_program([*words, *SHORT, *overrides], env, cwd=folder)
        assert run.returncode == 0, f"{command}\n{run.stderr[-3000:]}"


@pytest.mark.parametrize("name", ["your_model.md", "your_teacher.md", "your_method.md", "classification.md"])
def test_page_runs_as_written(name, tiny_datasets, tmp_path):
    run_page(name, tmp_path, tiny_datasets)
    assert list(tmp_path.glob("output/mine/*/model_final.pth"))


def test_dataset_page_shows_the_shipped_config(real_data, tmp_path):
    blocks = BLOCK.findall((REPO / "docs/your_dataset.md").read_text())
    shown = [text for _, path, text in blocks if path == "configs/common/data/bccd.py"]
    assert shown == [(REPO / "configs/common/data/bccd.py").read_text()]
    # After two iterations no score reaches the usual threshold, and the evaluator names no class.
    root = with_few_to_evaluate(real_data, tmp_path / "datasets", "bccd")
    run_page("your_dataset.md", tmp_path / "page", root, "model.student.test_score_thresh=0.0")
    results = json.loads((tmp_path / "page/output/bccd/diffkd_retinanet_r18/results.json").read_text())
    assert {"AP-RBC", "AP-WBC", "AP-Platelets"} <= set(results["bbox"])
