"""The Cityscapes configs, on a fixture in the real layout, through cityscapesscripts' own evaluators."""

import importlib
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from quick_start import run_program
from two_steps import REPO, python_path, two_steps

from diffkd_d2.errors import UserError
from diffkd_d2.evaluation import third_party as eval_apis

pytest.importorskip("cityscapesscripts")
pytest.importorskip("timm")

SIZE = (128, 256)
SHORT = "dataloader.train.mapper.augmentations.0.short_edge_length"
TEST = ["dataloader.test.mapper.augmentations.0.short_edge_length=128"]
CROPS = ["--crop", "64", "128", f"{SHORT}=[96,128]", *TEST]
CONFIGS = {
    "diffkd_deeplab_v3_r18_from_r103": (CROPS, {"sem_seg"}),
    "diffkd_deeplab_v3_plus_r18_from_r103": (CROPS, {"sem_seg"}),
    "diffkd_semantic_fpn_r18_from_r101": (CROPS, {"sem_seg"}),
    "diffkd_mask_rcnn_r18_from_r50": ([f"{SHORT}=[128]", *TEST], {"segm"}),
    "diffkd_panoptic_deeplab_r18_from_r52": (CROPS, {"panoptic_seg", "sem_seg", "segm"}),
}


TRUTH_AS_PREDICTION = """
import json
import numpy as np
import torch
from PIL import Image
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import CityscapesInstanceEvaluator, CityscapesSemSegEvaluator
from detectron2.structures import Instances
from diffkd_d2.evaluation.third_party import provide_cityscapes

provide_cityscapes()
results = {}
for task, evaluator in (("sem_seg", CityscapesSemSegEvaluator), ("instance_seg", CityscapesInstanceEvaluator)):
    name = f"cityscapes_fine_{task}_val"
    evaluator = evaluator(name)
    evaluator.reset()
    for record in DatasetCatalog.get(name):
        if task == "sem_seg":
            label = torch.as_tensor(np.array(Image.open(record["sem_seg_file_name"])).astype("int64"))
            found = {"sem_seg": torch.nn.functional.one_hot(label.clamp(max=18), 19).permute(2, 0, 1).float()}
        else:
            path = record["file_name"].replace("leftImg8bit", "gtFine").replace("gtFine.png", "gtFine_instanceIds.png")
            ids = np.array(Image.open(path)).astype("int64")
            of_class = {26: "car", 24: "person"}
            things = [i for i in np.unique(ids) if i >= 1000]
            found = Instances(ids.shape)
            found.pred_masks = torch.as_tensor(np.stack([ids == i for i in things]))
            classes = MetadataCatalog.get(name).thing_classes
            found.pred_classes = torch.tensor([classes.index(of_class[i // 1000]) for i in things])
            found.scores = torch.ones(len(things))
            found = {"instances": found}
        evaluator.process([record], [found])
    results.update(evaluator.evaluate())
print(json.dumps(results))
"""


TRIAL_IN_TWO_PROCESSES = """
import tempfile
from pathlib import Path
from types import SimpleNamespace
import torch
from detectron2.data import DatasetCatalog
from detectron2.evaluation import CityscapesInstanceEvaluator, CityscapesSemSegEvaluator
from detectron2.structures import Instances
from detectron2.utils import comm
from diffkd_d2.engine.evaluators import EvaluationSet, _check_images
from diffkd_d2.engine.outputs import try_outputs
from diffkd_d2.engine.launch import join_torchrun, leave_group
from diffkd_d2.errors import UserError
from diffkd_d2.evaluation.third_party import provide_cityscapes
from diffkd_d2.evaluation.trial import try_evaluator

provide_cityscapes()
join_torchrun()
records = DatasetCatalog.get("cityscapes_fine_sem_seg_val")
loader = SimpleNamespace(records=records, dataset=records)
pair = [CityscapesInstanceEvaluator("cityscapes_fine_instance_seg_val"),
        CityscapesSemSegEvaluator("cityscapes_fine_sem_seg_val")]
for evaluator in pair:
    assert try_evaluator(evaluator) == "built; 2 files of ground truth"
    _check_images(evaluator, loader, "val")
    try:
        _check_images(evaluator, SimpleNamespace(records=records[:1]), "val")
        raise AssertionError("a part of the images is accepted")
    except UserError as error:
        assert "1 images of val have ground truth that the test data lacks" in str(error), error
class Model(torch.nn.Module):
    def forward(self, inputs):
        return [{"sem_seg": torch.rand(19, 128, 256), "instances": Instances((128, 256), scores=torch.zeros(0))}]
try_outputs(Model(), [EvaluationSet("val", loader, pair)])
comm.synchronize()
left = [list(path.iterdir()) for path in Path(tempfile.gettempdir()).glob("cityscapes_eval_*")]
assert not any(left), left
comm.synchronize()  # the other process may still be reading the folders
del pair, evaluator
comm.synchronize()
assert not list(Path(tempfile.gettempdir()).glob("cityscapes_eval_*"))
leave_group()
print("both are tried")
"""


def polygon(label: str, x0: int, y0: int, x1: int, y1: int) -> dict:
    return dict(label=label, polygon=[[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


@pytest.fixture(scope="module")
def cityscapes(tmp_path_factory) -> Path:
    """Two images for each split: polygons drawn by hand, all else made by the dataset's own scripts."""
    from cityscapesscripts.helpers.annotation import Annotation
    from cityscapesscripts.preparation.createPanopticImgs import convert2panoptic
    from cityscapesscripts.preparation.json2instanceImg import createInstanceImage
    from cityscapesscripts.preparation.json2labelImg import json2labelImg

    root = tmp_path_factory.mktemp("datasets")
    rng = np.random.default_rng(0)
    height, width = SIZE
    for split, city in (("train", "aachen"), ("val", "frankfurt")):
        images, truths = (root / "cityscapes" / kind / split / city for kind in ("leftImg8bit", "gtFine"))
        images.mkdir(parents=True)
        truths.mkdir(parents=True)
        for i in range(2):
            stem = f"{city}_{i:06d}_000019"
            image = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
            cv2.imwrite(str(images / f"{stem}_leftImg8bit.png"), image)
            objects = [polygon("sky", 0, 0, width, 50), polygon("road", 0, 50, width, height)]
            objects += [polygon("car", 20 + 30 * i, 50, 90, 100), polygon("person", 150, 40, 180, 110)]
            path = truths / f"{stem}_gtFine_polygons.json"
            path.write_text(json.dumps(dict(imgHeight=height, imgWidth=width, objects=objects)))
            for kind, encoding in (("labelIds", "ids"), ("labelTrainIds", "trainIds")):
                json2labelImg(str(path), str(truths / f"{stem}_gtFine_{kind}.png"), encoding)
            annotation = Annotation()
            annotation.fromJsonFile(str(path))
            # json2instanceImg itself writes a mode of PNG that Pillow has dropped.
            instances = np.array(createInstanceImage(annotation, "ids")).astype(np.uint16)
            cv2.imwrite(str(truths / f"{stem}_gtFine_instanceIds.png"), instances)
    convert2panoptic(str(root / "cityscapes" / "gtFine"), None, False, ["train", "val"])
    return root


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_two_steps_and_the_official_evaluation(name, cityscapes, tmp_path):
    options, metrics = CONFIGS[name]
    two_steps(f"configs/cityscapes/{name}.py", cityscapes, tmp_path, *options)
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results) == metrics
    for metric, key in (("sem_seg", "IoU"), ("segm", "AP"), ("panoptic_seg", "PQ")):
        if metric in metrics:
            assert 0 <= results[metric][key] < 60  # of two steps from random weights


@pytest.mark.slow
def test_the_truth_as_prediction_has_an_iou_of_100(cityscapes, tmp_path):
    (tmp_path / "truth.py").write_text(TRUTH_AS_PREDICTION)
    env = dict(os.environ, DETECTRON2_DATASETS=str(cityscapes), PYTHONPATH=python_path())
    run = run_program(["truth.py"], env, cwd=tmp_path)
    assert run.returncode == 0, run.stderr[-2000:]
    results = json.loads(run.stdout.splitlines()[-1])
    assert results["sem_seg"]["IoU"] == pytest.approx(100) and results["segm"]["AP"] == pytest.approx(100)


@pytest.mark.slow
def test_trials_in_two_processes_end_and_leave_nothing(cityscapes, tmp_path):
    (tmp_path / "trial.py").write_text(TRIAL_IN_TWO_PROCESSES)
    (tmp_path / "temporary").mkdir()
    datasets = dict(DETECTRON2_DATASETS=str(cityscapes), PYTHONPATH=python_path(), TMPDIR=str(tmp_path / "temporary"))
    words = [str(REPO / "tests/helpers/forked_torchrun.py"), "2", "trial.py"]
    run = run_program(words, dict(os.environ, OMP_NUM_THREADS="1", **datasets), cwd=tmp_path, timeout=300)
    assert run.returncode == 0 and run.stdout.count("both are tried") == 2, run.stderr[-3000:]


@pytest.mark.slow
def test_missing_label_maps_are_one_line(cityscapes, tmp_path):
    (tmp_path / "cityscapes").mkdir()
    for kind in ("leftImg8bit", "gtFine"):
        (tmp_path / "cityscapes" / kind / "train").mkdir(parents=True)
    with pytest.raises(AssertionError, match=r"UserError: dataset: .*\(DETECTRON2_DATASETS is"):
        two_steps("configs/cityscapes/diffkd_semantic_fpn_r18_from_r101.py", tmp_path, tmp_path, *CROPS)


def test_both_names_of_cityscapesscripts():
    eval_apis.provide_cityscapes()
    labels = importlib.import_module("deeplearning.projects.cityscapesApi.cityscapesscripts.helpers.labels")
    assert labels.name2label["car"].id == 26
    eval_apis.provide_cityscapes()


def test_panoptic_quality_is_that_of_the_definition(tmp_path):
    """A thing of 8 pixels of which 6 are found, the other 2 given to the ground: IoU 6/8 and 8/10."""
    eval_apis.provide_panopticapi()
    from panopticapi.evaluation import pq_compute
    from panopticapi.utils import id2rgb, rgb2id

    truth = np.repeat([[70000], [70000], [3], [3]], 4, axis=1)
    found = truth.copy()
    found[0, :2] = 3
    assert (rgb2id(id2rgb(truth)) == truth).all() and rgb2id([1, 2, 3]) == 1 + 512 + 3 * 65536
    categories = [dict(id=1, name="thing", isthing=1), dict(id=2, name="ground", isthing=0)]
    for name, ids in (("truth", truth), ("found", found)):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "1.png"), id2rgb(ids)[:, :, ::-1])
        areas = {category: int((ids == i).sum()) for i, category in ((70000, 1), (3, 2))}
        segments = [dict(id=i, category_id=c, area=areas[c], iscrowd=0) for i, c in ((70000, 1), (3, 2))]
        record = dict(image_id=1, file_name="1.png", segments_info=segments)
        data = dict(images=[dict(id=1)], annotations=[record], categories=categories)
        (tmp_path / f"{name}.json").write_text(json.dumps(data))
    files = [str(tmp_path / f"{name}.json") for name in ("truth", "found")]
    quality = pq_compute(*files, gt_folder=str(tmp_path / "truth"), pred_folder=str(tmp_path / "found"))
    assert quality["Things"]["pq"] == pytest.approx(0.75) and quality["Stuff"]["pq"] == pytest.approx(0.8)
    assert quality["All"]["pq"] == quality["All"]["sq"] == pytest.approx(0.775) and quality["All"]["rq"] == 1


def test_missing_cityscapesscripts_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install cityscapesscripts"):
        eval_apis.provide_cityscapes()
