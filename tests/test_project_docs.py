"""Run the commands of docs/your_yaml_project.md and docs/third_party.md on the stand-in project."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import torch
from commands import REPO
from quick_start import run_program

from diffkd_d2.engine.config import argument_parser, parse_arguments
from diffkd_d2.engine.pair import split_overrides
from diffkd_d2.recipes import find_recipes

pytestmark = pytest.mark.slow

BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Return a folder with what `pip install` installs: the package without this repository's configs and tools."""
    folder = tmp_path_factory.mktemp("installed")
    build = ["setup.py", "-q", "build", "--build-base", str(folder / "build"), "--build-lib", str(folder / "lib")]
    subprocess.run([sys.executable, *build], cwd=REPO, check=True, capture_output=True)
    return folder / "lib"


@pytest.fixture
def project(tmp_path):
    """Return a folder with the stand-in project as `MyProject/`."""
    shutil.copytree(REPO / "tests/helpers/standin_project", tmp_path / "MyProject")
    return tmp_path


def commands_of(text: str) -> list[str]:
    """Return the command lines of a page's `sh` blocks."""
    shell = [block.replace("\\\n", "") for language, _, block in BLOCK.findall(text) if language == "sh"]
    return [line for block in shell for line in block.splitlines()]


def run(words: list[str], folder, datasets, package=REPO) -> str:
    """Run Python or its script in a folder, with `diffkd_d2` from `package`; return what it printed."""
    others = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and p != str(REPO)]
    path = os.pathsep.join([str(package), *others])
    env = dict(os.environ, DETECTRON2_DATASETS=str(datasets), OMP_NUM_THREADS="1", PYTHONPATH=path)
    if package == REPO:
        done = run_program(words, env, folder)
    else:
        command = [sys.executable, *words]
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout[-1000:]}{done.stderr[-3000:]}"
    return done.stdout


def load(path):
    return torch.load(path, weights_only=True)


def test_yaml_project_page(tiny_datasets, project, installed):
    page = (REPO / "docs/your_yaml_project.md").read_text()
    for language, path, text in BLOCK.findall(page):
        if language == "python" and path:
            (project / path).parent.mkdir(parents=True, exist_ok=True)
            (project / path).write_text(text)
    commands = [command.split()[1:] for command in commands_of(page)]
    assert len(commands) == 5
    for words in commands:
        if words[0] == "train_net.py":
            run([str(REPO / words[0]), *words[1:]], project, tiny_datasets)
        else:  # a script of the project's own needs only the installed package
            found = run(["-c", "import diffkd_d2; print(diffkd_d2.__file__)"], project, tiny_datasets, installed)
            assert found.startswith(str(installed))
            run(words, project, tiny_datasets, installed)
    out = project / "output/mine"
    for name in ("teacher", "student", "from_yaml", "my_script"):
        assert (out / name / "model_final.pth").is_file()
    by_door, by_script = (load(out / name / "model_final.pth") for name in ("student", "my_script"))
    assert set(by_door["model"]) == set(by_script["model"]) and "s8" not in str(set(by_script["model"]))
    assert set(by_door["distillers"]) == set(by_script["distillers"])
    assert "TEST.AUG.ENABLED is not honoured" in (out / "from_yaml" / "log.txt").read_text()


def test_third_party_page(tiny_datasets, project):
    page = (REPO / "docs/third_party.md").read_text()
    there = "MyProject/configs/student.yaml", "MyProject/configs/teacher.yaml", "MyProject/train_net.py"
    files = dict(zip(("STUDENT.yaml", "TEACHER.yaml", "PROJECT"), there, strict=True))
    files |= {f"{who.upper()}.pth": f"output/mine/{who}/model_final.pth" for who in ("student", "teacher")}
    commands = [[files.get(word, word) for word in command.split()[1:]] for command in commands_of(page)]
    assert [words[0] for words in commands] == [*["train_net.py"] * 4, there[2]]
    for words in commands[:4]:
        run([str(REPO / words[0]), *words[1:]], project, tiny_datasets)
    # The project's own script evaluates the student, with all weights, to the same numbers.
    printed = run([*commands[4], "MODEL.DEVICE", "cpu"], project, tiny_datasets)
    assert "not found in" not in printed and "not used by" not in printed and "Loading from" in printed
    theirs = dict(
        zip(*[line.rpartition("copypaste: ")[2].split(",") for line in printed.splitlines()[-2:]], strict=True)
    )
    ours = json.loads((project / "output/mine/student/results.json").read_text())["sem_seg"]
    assert {name: f"{ours[name]:.4f}" for name in theirs} == theirs and len(theirs) > 3


def test_other_commands_of_the_pages_are_well_formed():
    pages = [(REPO / "docs" / name).read_text() for name in ("your_yaml_project.md", "third_party.md")]
    blocks = [text.replace("\\\n", "") for page in pages for language, _, text in BLOCK.findall(page)]
    blocks += [
        text.replace("\\\n", "") for page in pages for text in re.findall(r"^```\n(.*?)^```$", page, re.M | re.S)
    ]
    lines = [line.partition("train_net.py ")[2] for block in blocks for line in block.splitlines() if "python" in line]
    parsed = [parse_arguments(argument_parser(), line.split()) for line in lines if line.startswith("--")]
    assert len(parsed) > 8
    for args in parsed:
        split_overrides(args.opts)
        assert args.method in (None, "alone") or find_recipes(args.method)
