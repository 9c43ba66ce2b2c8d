#!/usr/bin/env python
"""The demo: a student alone and the same student with DiffKD on `shapes`, compared in a table and a report.

python tools/demo.py             # 10 to 17 minutes on two cores
python tools/demo.py --teacher   # train the teacher anew (83 minutes on one core)
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
TEACHER = ROOT / "assets" / "shapes_teacher_r50.pth"
CONFIG = "configs/shapes/diffkd_retinanet_r18.py"
TEACHER_CONFIG = "configs/shapes/teacher_retinanet_r50.py"


def run(script: str, *arguments: str) -> None:
    """Run a program of this repository as a user would; what it prints goes to the screen. If it fails, end with it."""
    code = subprocess.run([sys.executable, script, *arguments], cwd=ROOT, check=False).returncode
    if code:
        sys.exit(code)


def run_demo(output: Path, iterations: int) -> None:
    """Compare the student alone with the student under DiffKD, from one seed and side by side, and report."""
    arms = ["--methods", "alone", "--arm", "diffkd=", "--seeds", "1", "--jobs", "2"]
    length = [f"train.max_iter={iterations}", f"train.eval_period={iterations}"]
    run("tools/compare.py", "--config-file", CONFIG, *arms, "--output", str(output), *length)
    run("tools/report.py", str(output), "--pictures", str(output / "pictures"))


def train_teacher(output: Path) -> None:
    """Train the teacher anew and put its weights, in float16, in the place of the shipped ones."""
    options = [f"train.output_dir={output}", "train.overwrite=True", "train.seed=1"]
    run("train_net.py", "--config-file", TEACHER_CONFIG, *options)
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
    if args.teacher:
        train_teacher(output / "teacher_training")
        return
    start = time.time()
    run_demo(output, args.iterations)
    print(f"{(time.time() - start) / 60:.1f} minutes; open {output / 'report.html'} in a browser")


if __name__ == "__main__":
    main()
