#!/usr/bin/env python
"""The demo: a student alone and the same student with DiffKD on `shapes`, a table and a picture.

python tools/demo.py             # about 10 minutes on two cores
python tools/demo.py --teacher   # train the teacher anew (about half an hour on two cores)
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from detectron2.config import instantiate
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils.visualizer import Visualizer

from diffkd_d2.checkpoint.checkpointer import Checkpointer
from diffkd_d2.engine.config import load_config

ROOT = Path(__file__).resolve().parent.parent
TEACHER = ROOT / "assets" / "shapes_teacher_r50.pth"
LABELS = {"teacher": "teacher", "student": "student", "diffkd": "with DiffKD"}
RUNS = {"teacher": "diffkd_r18", "student": "student_r18", "diffkd": "diffkd_r18"}


def train_net(config: str, *arguments: str) -> None:
    """Run train_net.py as a user would; its progress goes to the screen."""
    command = [sys.executable, "train_net.py", "--config-file", f"configs/shapes/{config}.py", *arguments]
    subprocess.run(command, cwd=ROOT, check=True)


def run_demo(output: Path, iterations: int) -> dict[str, float]:
    """Evaluate the teacher, train both students from one seed; return AP and minutes."""
    start = time.time()
    length = [f"train.max_iter={iterations}"]
    for name, config in RUNS.items():
        options = [f"train.output_dir={output / name}", "train.seed=1"]
        train_net(config, *(["--eval-teacher"] if name == "teacher" else []), *options, *length)
    files = {name: "results_teacher.json" if name == "teacher" else "results.json" for name in RUNS}
    summary = {name: json.loads((output / name / file).read_text())["bbox"]["AP"] for name, file in files.items()}
    # Detectron2 reports no AP at all where a model found nothing.
    return {**{k: round(v or 0.0, 2) for k, v in summary.items()}, "minutes": round((time.time() - start) / 60, 1)}


def draw(output: Path, path: Path, count: int = 4) -> None:
    """Draw the detections of the three models side by side on the first val images that hold three objects."""
    models = {}
    for name, config in RUNS.items():
        node = load_config(f"configs/shapes/{config}.py", []).model
        model = instantiate(node.teacher if name == "teacher" else node.student)
        if name != "teacher":
            Checkpointer(model).load(str(output / name / "model_final.pth"), checkpointables=[])
        models[name] = model.eval()
    records = [r for r in DatasetCatalog.get("shapes_val") if len(r["annotations"]) >= 3][:count]
    rows = [np.hstack([_panel(model, name, r["file_name"]) for name, model in models.items()]) for r in records]
    cv2.imwrite(str(path), np.vstack(rows))


def _panel(model: torch.nn.Module, name: str, file_name: str) -> np.ndarray:
    image = np.asarray(cv2.imread(file_name))
    with torch.no_grad():
        found = model([{"image": torch.as_tensor(image.transpose(2, 0, 1).copy())}])[0]["instances"]
    found = found[found.scores > 0.3]
    visualizer = Visualizer(image[:, :, ::-1], MetadataCatalog.get("shapes_val"), scale=3)
    panel = np.ascontiguousarray(visualizer.draw_instance_predictions(found).get_image()[:, :, ::-1])
    cv2.putText(panel, name, (6, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 255), 2)
    return panel


def train_teacher(output: Path) -> None:
    """Train the teacher anew and put its weights, in float16, in the place of the shipped ones."""
    train_net("teacher_r50", f"train.output_dir={output}", "train.seed=1")
    state = torch.load(output / "model_final.pth", weights_only=True)["model"]
    half = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    torch.save({"model": half}, TEACHER)


def main() -> None:
    """Run the demo, or train its teacher."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", action="store_true", help="train the demo's teacher anew")
    parser.add_argument("--iterations", type=int, default=1000, help="of each student (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=ROOT / "output" / "demo", help="folder of everything it writes")
    args = parser.parse_args()
    output = args.output.resolve()
    os.chdir(ROOT)
    if args.teacher:
        train_teacher(output / "teacher_training")
        return
    output.mkdir(parents=True, exist_ok=True)
    summary = run_demo(output, args.iterations)
    (output / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    draw(output, output / "detections.png")
    print("\n".join(["", "model          AP", *(f"{LABELS[k]:12} {summary[k]:5.1f}" for k in RUNS)]))
    print(f"{summary['minutes']} minutes; picture: {output / 'detections.png'}")


if __name__ == "__main__":
    main()
