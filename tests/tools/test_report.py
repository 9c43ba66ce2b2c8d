"""The report: its cells are those of compare.json, its pictures are pictures, and it needs nothing else."""

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from compare_runs import read_metrics
from compare_table import parts_of, tables
from comparing import CONFIG, REPO, TINY
from matplotlib.backends.backend_agg import FigureCanvasAgg
from omegaconf import OmegaConf
from PIL import Image
from quick_start import run_program
from report_curves import distill_losses, parts_figure, task_loss
from report_features import spread_batch
from report_pictures import match, read_labels
from report_runs import gradient_ratios, read_group, require_same_test_data

from diffkd_d2.errors import UserError


class Read(HTMLParser):
    """Collects the rows of all tables, the sources of all pictures, and the names of all tags."""

    def __init__(self, text: str):
        super().__init__()
        self.rows, self.sources, self.tags, self.inside = [], [], set(), False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.rows += [[]] if tag == "tr" else []
        self.sources += [dict(attributes)["src"]] if tag == "img" else []
        self.inside = tag in ("th", "td")
        if self.inside:
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.inside:
            self.rows[-1][-1] += data

    def handle_endtag(self, tag):
        self.inside = False


def report(compare, *words) -> None:
    run = run_program(["tools/report.py", *map(str, words)], compare.environment)
    assert run.returncode == 0, run.stderr


def check_pictures(sources: list[str]) -> None:
    for source in sources:
        kind, _, data = source.partition(";base64,")
        assert kind in ("data:image/png", "data:image/jpeg")
        image = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
        assert min(image.shape[:2]) > 100 and image.std() > 5


@pytest.mark.slow
def test_report_of_a_comparison(compare, comparison, tmp_path):
    report(compare, comparison, "--html", tmp_path / "report.html", "--pictures", tmp_path / "pictures")
    text = (tmp_path / "report.html").read_text()
    read = Read(text)
    summary = json.loads((comparison / "compare.json").read_text())
    for table in tables(summary):
        start = read.rows.index(table.headers)
        assert read.rows[start + 1 : start + 1 + len(table.rows)] == table.rows
    rows = {row[0]: row for row in reversed(read.rows)}
    for arm in ("alone", "diffkd", "weightless"):
        mean = summary["arms"][arm]["results"]["bbox"]["AP"]["mean"]
        assert rows[arm][1] == f"{mean:.1f}"
    # Loss and learning rate; three of the distillers; two strips; detections; by size and class, if anything is found.
    expected = 7 + sum(bool(parts_of(summary, task)) for task in summary["headline"])
    assert len(read.sources) == expected
    check_pictures(read.sources)
    assert len(list((tmp_path / "pictures").iterdir())) == expected
    assert "script" not in read.tags and "link" not in read.tags
    assert not re.search(r"https?:", text, re.I)  # base64 has no colon


@pytest.mark.slow
def test_report_of_a_single_run(compare, comparison, tmp_path):
    run = comparison / "diffkd" / "seed_1"
    report(compare, run, "--html", tmp_path / "report.html", "--config-file", CONFIG, *TINY)
    read = Read((tmp_path / "report.html").read_text())
    ap = json.loads((run / "results.json").read_text())["bbox"]["AP"]
    assert ["bbox", "AP", "" if ap is None else f"{ap:.2f}"] in read.rows
    assert any(row[:1] == ["diffkd/seed_1"] and len(row) == 7 for row in read.rows)  # similarity at three levels, twice
    check_pictures(read.sources)


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"neither compare\.json nor metrics\.json"):
        read_group(tmp_path, [])


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("compare.json", b"{", r"compare\.json is damaged"),
        ("compare.json", b"{}", r"compare\.json is not what compare\.py writes"),
        ("metrics.json", b"[1, 2]\n{}\n", r"metrics\.json is damaged in line 1"),
        ("metrics.json", b'{"iteration": 1}\n\x80\n{"iteration": 3}\n', r"metrics\.json is damaged in line 2"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, content, line):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=line):
        read_metrics(read_group(tmp_path, []).folder)


def test_the_last_line_may_be_half_written(tmp_path):
    (tmp_path / "metrics.json").write_bytes(b'{"iteration": 1}\n{"iterat')
    assert read_metrics(tmp_path) == [{"iteration": 1}]


def test_other_test_data_than_the_runs_is_refused(tmp_path):
    config = "dataloader: {test: {dataset: {names: bccd_val}}, x: !!python/object/new:os.system [exit]}"
    (tmp_path / "config.yaml").write_text(config)
    cfg = OmegaConf.create(dict(dataloader=dict(test=[dict(dataset=dict(names="bccd_val"))])))
    require_same_test_data(tmp_path, cfg)
    cfg.dataloader.test[0].dataset.names = ["shapes_val"]
    with pytest.raises(UserError, match="was evaluated on bccd_val; --config-file has shapes_val"):
        require_same_test_data(tmp_path, cfg)


def test_gradient_ratios_are_those_of_the_log(tmp_path: Path):
    (tmp_path / "log.txt").write_text(
        "[11/25 d2]: gradient norms in the student where distillation reaches, at iteration 10; the task's is 2:\n"
        "loss          value    norm    over the task's\n"
        "----------  -------  ------  -----------------\n"
        "loss_kd_p3      1.5    4.0               2.0\n"
        "all of them     1.5    4.1               2.05\n"
        "[11/25 d2]: eta: 0:00:01\n"
        "loss_kd_p3      9.0    9.0               9.0\n"
    )
    assert gradient_ratios(tmp_path) == {"loss_kd_p3": [(10, 2.0)], "all of them": [(10, 2.05)]}


def test_the_students_own_loss_is_not_a_distillation_loss(tmp_path):
    own, ours = {"loss_sem_seg": 2.0}, {"loss_kd_sem_seg": 0.75, "loss_diffusion_sem_seg": 0.25}
    (tmp_path / "metrics.json").write_text(json.dumps({"iteration": 1, "total_loss": 3.0, **own, **ours}) + "\n")
    (tmp_path / "run.json").write_text("{}")
    member = SimpleNamespace(folder=tmp_path)
    assert set(distill_losses(member)) == set(ours)
    assert task_loss(member) == ([1], [2.0])


def test_threshold_maximises_f1():
    square = dict(category_id=1, bbox=[0, 0, 10, 10])
    images = {1: [dict(square)], 2: [dict(square), dict(square, bbox=[50, 50, 10, 10], iscrowd=1)], 3: []}
    coco = SimpleNamespace(imgToAnns=images, getImgIds=lambda: [1, 2, 3])
    found = match(
        coco,
        [
            dict(square, image_id=1, score=0.9),
            dict(square, image_id=1, score=0.8),  # the second on one object
            dict(square, image_id=2, score=0.7, bbox=[1, 0, 10, 10]),
            dict(square, image_id=2, score=0.4, category_id=2),
            dict(square, image_id=3, score=0.3),
        ],
    )
    assert found.threshold == 0.7
    assert found.f1 == {1: pytest.approx(2 / 3), 2: 1.0, 3: 0.0}


def test_label_maps_of_a_palette_are_its_indices(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), mode="P")
    image.putpalette([200, 10, 10, 10, 200, 10, 10, 10, 200])
    image.save(tmp_path / "labels.png")
    assert read_labels(str(tmp_path / "labels.png")).tolist() == [[0, 1], [2, 1]]


def test_the_images_of_a_classifier_are_of_all_classes():
    images = [dict(image=torch.full((3, 2, 2), float(i)), label=i // 50, skipped=[], seconds=0.1) for i in range(1000)]
    images[999] = dict(skipped=["damaged.jpg"])
    batch = spread_batch(images, 64)
    assert set(batch["label"].tolist()) == set(range(20)) and len(batch["image"]) == 63
    assert batch["image"][0].max() == 0 and batch["image"][-1].max() > 950
    assert spread_batch(images[:3], 64)["label"].tolist() == [0, 0, 0]


def test_a_comparison_that_has_not_finished_is_named(tmp_path):
    (tmp_path / "alone" / "seed_1").mkdir(parents=True)
    (tmp_path / "alone" / "seed_1" / "words.json").write_text("[]")
    with pytest.raises(UserError, match=r"this comparison has not finished; start its compare\.py command again"):
        read_group(tmp_path, [])


def test_the_legend_hides_no_bar():
    figure = parts_figure(json.loads((REPO / "docs/results/bccd_recipe_400.json").read_text()), "bbox")
    FigureCanvasAgg(figure).draw()
    assert len(figure.axes) == 2
    for axis in figure.axes:
        legend = axis.get_legend().get_window_extent()
        assert axis.get_window_extent().x1 <= legend.x0 < legend.x1 <= figure.bbox.x1
