"""The kinds of annotations in docs/your_dataset.md, registered and trained on as the page says."""

import re
import shlex

import numpy as np
import pytest
from commands import REPO
from one_line import SHORT, run, small_opts
from PIL import Image

pytestmark = pytest.mark.slow

PAGE = (REPO / "docs/your_dataset.md").read_text()
FILES = dict(re.findall(r"^```python (\w+\.py)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
SEMANTIC = "--config-file Misc/semantic_R_50_FPN_1x.yaml".split()
(BLOCK,) = re.findall(r"^```\n(python train_net.py --project my_data.py.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [shlex.split(line)[2:] for line in BLOCK.replace("\\\n", "").splitlines()]


def dry_run(datasets, folder, words):
    """Run a command of the page with a small model, up to the first step."""
    # Without training the keypoint head's scores are NaN, on which Detectron2 fails: keep no detection.
    given = small_opts(32) + [
        "MODEL.ROI_HEADS.SCORE_THRESH_TEST",
        1.0,
        "SOLVER.IMS_PER_BATCH",
        2,
        "INPUT.MIN_SIZE_TRAIN",
        "(128,)",
        "INPUT.MIN_SIZE_TEST",
        128,
    ]
    return run(datasets, *map(str, given), *words, *SHORT, "--dry-run", cwd=folder).stdout


@pytest.mark.parametrize("words", COMMANDS, ids=["masks", "keypoints", "label maps", "panoptic"])
def test_each_kind_of_annotation(words, small_datasets, tmp_path):
    (tmp_path / "my_data.py").write_text(FILES["my_data.py"])
    (tmp_path / "mine").symlink_to(small_datasets / "shapes")
    printed = dry_run(small_datasets, tmp_path, words)
    assert all(f"data    {split} mine_{name}" in printed for split, name in (("train", "train"), ("test", "val")))


def test_voc_folders(small_datasets, tmp_path):
    (tmp_path / "my_voc.py").write_text(FILES["my_voc.py"])
    root = tmp_path / "VOC2012"
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    (root / "SegmentationClass").mkdir()
    (root / "JPEGImages").symlink_to(small_datasets / "shapes" / "train")
    for split, names in (("train", range(6)), ("val", range(6, 9))):
        (root / "ImageSets/Segmentation" / f"{split}.txt").write_text("\n".join(f"{i:06d}" for i in names))
        for i in names:
            labels = Image.open(small_datasets / f"shapes/sem_seg_train/{i:06d}.png").convert("P")
            labels.save(root / "SegmentationClass" / f"{i:06d}.png")
    words = [
        "--project",
        "my_voc.py",
        *SEMANTIC,
        "DATASETS.TRAIN",
        "('my_voc_train',)",
        "MODEL.SEM_SEG_HEAD.NUM_CLASSES",
    ]
    assert "data    test my_voc_val: 3 images" in dry_run(
        small_datasets, tmp_path, [*words, "21", "DATASETS.TEST", "('my_voc_val',)"]
    )


def test_colours_become_indices(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels_in_colours").mkdir()
    colours = np.array([[(128, 0, 0), (1, 2, 3), (192, 192, 128), (128, 128, 128)]], np.uint8)
    Image.fromarray(colours).save(tmp_path / "labels_in_colours" / "a.png")
    exec(FILES["colours_to_indices.py"], {})
    assert np.asarray(Image.open(tmp_path / "labels/a.png")).tolist() == [[1, 255, 2, 0]]
