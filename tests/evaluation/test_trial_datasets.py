"""The evaluators of PASCAL VOC and LVIS are tried before the first step."""

import json

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_pascal_voc
from detectron2.evaluation import LVISEvaluator, PascalVOCDetectionEvaluator
from small_data import forget

from diffkd_d2.errors import UserError
from diffkd_d2.evaluation.trial import try_evaluator

CLASSES = ["cat", "dog"]
BOX = "<bndbox><xmin>3</xmin><ymin>3</ymin><xmax>6</xmax><ymax>6</ymax></bndbox>"
OBJECT = "<object><name>{}</name><pose>Left</pose><truncated>0</truncated><difficult>0</difficult>" + BOX + "</object>"


def voc(folder, names=("cat", "dog", "cat")) -> PascalVOCDetectionEvaluator:
    """Write a dataset with one object in each image; return its evaluator."""
    for path in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (folder / path).mkdir(parents=True)
    size = "<size><width>12</width><height>8</height></size>"
    for i, name in enumerate(names):
        (folder / f"Annotations/{i}.xml").write_text(f"<annotation>{size}{OBJECT.format(name)}</annotation>")
    (folder / "ImageSets/Main/val.txt").write_text("\n".join(map(str, range(len(names)))) + "\n")
    forget("own_voc")
    register_pascal_voc("own_voc", str(folder), "val", 2012, CLASSES)
    return PascalVOCDetectionEvaluator("own_voc")


def test_voc_is_tried_and_restored(tmp_path, monkeypatch):
    evaluator, results = voc(tmp_path), []
    listed, evaluate = evaluator._image_set_path, evaluator.evaluate
    monkeypatch.setattr(evaluator, "evaluate", lambda: results.append(evaluate()))
    assert try_evaluator(evaluator) == "tried on the truth of images ['0', '1']"
    assert results[0]["bbox"]["AP"] == pytest.approx(100)
    assert evaluator._image_set_path == listed and not evaluator._predictions


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<pose>Left</pose>", "", "2.xml: an object has no <pose>, which the evaluator reads"),
        ("<name>cat</name>", "<name>cow</name>", "2.xml: class 'cow' is none of cat, dog"),
    ],
)
def test_an_annotation_that_voc_evaluation_cannot_read(tmp_path, old, new, message):
    evaluator, path = voc(tmp_path), tmp_path / "Annotations/2.xml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError, match=message):
        try_evaluator(evaluator)
    path.unlink()
    with pytest.raises(UserError, match="1 of 3 annotations are missing, such as .*2.xml"):
        try_evaluator(evaluator)


def test_lvis_is_tried_and_restored(tmp_path):
    pytest.importorskip("lvis")
    square = [[2, 2, 6, 2, 6, 6, 2, 6]]
    images = [
        dict(id=i, width=12, height=8, neg_category_ids=[], not_exhaustive_category_ids=[], coco_url="")
        for i in (1, 2, 3)
    ]
    objects = [
        dict(id=i, image_id=i, category_id=1, bbox=[2, 2, 4, 4], area=16, segmentation=square) for i in (1, 2, 3)
    ]
    categories = [dict(id=1, name="cat", frequency="f", image_count=3, instance_count=3)]
    file = tmp_path / "lvis.json"
    file.write_text(json.dumps(dict(images=images, annotations=objects, categories=categories)))
    forget("own_lvis")
    DatasetCatalog.register("own_lvis", list)
    MetadataCatalog.get("own_lvis").set(json_file=str(file), thing_classes=["cat"])
    evaluator = LVISEvaluator("own_lvis", tasks=["bbox", "segm"], output_dir=str(tmp_path / "out"))
    api = evaluator._lvis_api
    assert try_evaluator(evaluator) == "tried on the truth of images [1, 2]: bbox AP 100, segm AP 100"
    assert evaluator._lvis_api is api and not (tmp_path / "out").exists()
