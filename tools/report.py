#!/usr/bin/env python
"""Write a self-contained HTML report of runs: tables, curves, predictions, the denoising strip.

python tools/report.py output/compare
python tools/report.py output/shapes/diffkd_retinanet_r18 --config-file configs/shapes/diffkd_retinanet_r18.py

An OUTPUT is a folder of compare.py or of train_net.py. The pictures of a single run need the words of train_net.py
that made it; those of a comparison are known.
"""

import argparse
import base64
import io
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from compare_arms import ALONE, LONGER, choose_last_test_set, evaluator_nodes, keeps_predictions, load_arm
from compare_table import Table, failure_lines, tables
from omegaconf import DictConfig
from report_curves import distillation_figures, parts_figure, training_figure
from report_features import class_scores, feature_parts
from report_pictures import class_picture, detection_picture, label_picture
from report_runs import Group, Member, read_group, require_same_test_data, results_table

from diffkd_d2.engine.evaluators import instantiate_evaluator
from diffkd_d2.errors import UserError, one_line_errors

DPI = 110


@dataclass(frozen=True)
class Picture:
    """An image file under its title."""

    title: str
    kind: str  # "png" or "jpeg"
    data: bytes
    note: str = ""

    @property
    def source(self) -> str:
        """The file as the `src` of an HTML image."""
        return f"data:image/{self.kind};base64,{base64.b64encode(self.data).decode()}"

    @property
    def file_name(self) -> str:
        """A name made of the title."""
        return f"{re.sub(r'[^a-z0-9]+', '_', self.title.lower()).strip('_')}.{self.kind}"


@dataclass
class Section:
    """A heading with what stands under it."""

    title: str
    text: str = ""
    tables: list[Table] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)


def picture(title: str, content: Figure | np.ndarray, note: str = "") -> Picture:
    """Return a figure as PNG, or a BGR image as JPEG."""
    if isinstance(content, Figure):
        buffer = io.BytesIO()
        content.savefig(buffer, format="png", dpi=DPI)
        return Picture(title, "png", buffer.getvalue(), note)
    return Picture(title, "jpeg", cv2.imencode(".jpg", content, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes(), note)


def sections_of(group: Group) -> list[Section]:
    """Return all sections of one OUTPUT."""
    result = Section(f"Result: {group.name}")
    if group.summary:
        result.text = "\n".join([f"Trained by: {' '.join(group.summary['command'])}", *failure_lines(group.summary)])
        result.tables = tables(group.summary)
        figures = [(task, parts_figure(group.summary, task)) for task in group.summary["headline"]]
        result.pictures = [picture(f"{task} by size and class", f, "Dots are seeds.") for task, f in figures if f]
    else:
        result.tables = [results_table(member) for member in group.members]
        if not (group.folder / "results.json").exists():
            result.text = "There is no results.json: the run has not finished."
    curves = Section("Training", "Values are what Detectron2 logs: medians over the last 20 iterations.")
    curves.text += " One seed of each arm." if group.summary else ""
    curves.pictures.append(picture("Task loss and learning rate", training_figure(group.members)))
    curves.pictures += [picture(title, figure) for title, figure in distillation_figures(group.members)]
    strips, similarity = feature_parts(group.members)
    features = Section("What the distiller sees", tables=[similarity] if similarity else [])
    note = (
        "Colours are the three main axes of the teacher's latent, on one scale per level. cos and CKA compare with the "
        "teacher over the batch."
    )
    features.pictures = [picture(f"Denoising strip: {name}", figure, note) for name, figure in strips]
    shown = Section("Predictions", "Images where the two students differ most.", pictures=predictions(group))
    return [s for s in (result, curves, features, shown) if s.tables or s.pictures]


def predictions(group: Group) -> list[Picture]:
    """Return the pictures of predictions: boxes, label maps, or classes."""
    members = [m for m in pair_of_students(group) if m.words]
    if not members:
        return []
    folders = {"teacher": group.teacher, **{m.name: m.folder for m in members}}
    cfg = load_arm(members[-1].words)
    if not group.summary:
        require_same_test_data(members[-1].folder, cfg)
    choose_last_test_set(cfg)
    found = []
    for node in evaluator_nodes(cfg).values():
        found += [(title, image) for title, image in evaluator_pictures(node, folders, members) if image is not None]
    return [picture(title, image) for title, image in found]


def evaluator_pictures(node: DictConfig, folders: dict[str, Path], members: list[Member]) -> list[tuple[str, Any]]:
    """Return title and image of what one evaluator measures; the image is None where predictions were not kept."""
    if keeps_predictions(node):
        node.output_dir = str(members[-1].folder / "inference")
    found = []
    for evaluator in instantiate_evaluator(node):
        if hasattr(evaluator, "_coco_api"):
            found.append(("Detections", detection_picture(evaluator, folders)))
        elif hasattr(evaluator, "input_file_to_gt_file"):
            found.append(("Label maps", label_picture(evaluator, folders)))
        elif type(evaluator).__name__ == "TopKEvaluator":
            found.append(("Classes", class_picture(*class_scores(members))))
    return found


def pair_of_students(group: Group) -> list[Member]:
    """Return the student alone and the best other arm of a comparison; the only run of another folder."""
    if not group.summary:
        return group.members
    task, metric = next(iter(group.summary["headline"].items()))
    by_name = {m.name: m for m in group.members}
    values = {name: arm["results"][task][metric]["mean"] for name, arm in group.summary["arms"].items()}
    others = sorted((n for n in values if n not in (ALONE, LONGER)), key=lambda n: -values[n])
    chosen = [*([ALONE] if ALONE in by_name else others[1:2]), *others[:1]]
    return [by_name[name] for name in chosen]


def write_report(path: Path, groups: list[Group], pictures: Path | None = None) -> None:
    """Write the HTML file, and where a folder is named each picture as a file; of several groups in `1`, `2`, ..."""
    templates = jinja2.FileSystemLoader(Path(__file__).parent)
    template = jinja2.Environment(loader=templates, autoescape=True, trim_blocks=True).get_template("report.html.j2")
    sections = [sections_of(group) for group in groups]
    title = "Distillation report: " + ", ".join(group.name for group in groups)
    path.write_text(template.render(title=title, sections=sum(sections, [])), encoding="utf-8")
    if pictures is None:
        return
    for i, of_group in enumerate(sections, start=1):
        folder = pictures if len(groups) == 1 else pictures / str(i)
        folder.mkdir(parents=True, exist_ok=True)
        for shown in (p for section in of_group for p in section.pictures):
            (folder / shown.file_name).write_bytes(shown.data)


def main() -> None:
    """Read the folders and write the file."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form, allow_abbrev=False)
    parser.add_argument("outputs", nargs="+", type=Path, metavar="OUTPUT")
    parser.add_argument("--html", type=Path, help="the file to write (default: report.html in the first OUTPUT)")
    parser.add_argument("--pictures", type=Path, help="a folder for the pictures as files of their own")
    args, words = parser.parse_known_args()
    path = args.html or args.outputs[0] / "report.html"
    with one_line_errors():
        if path.is_dir() or not path.absolute().parent.is_dir():
            raise UserError(f"--html: {path} cannot be written, or its folder is not there")
        groups = [read_group(folder.resolve(), words) for folder in args.outputs]
        if words and all(group.summary for group in groups):
            raise UserError(f"{words[0]}: the report of a comparison takes no words of train_net.py, it knows them")
        write_report(path, groups, args.pictures)
    print(f"written to {path}")


if __name__ == "__main__":
    main()
