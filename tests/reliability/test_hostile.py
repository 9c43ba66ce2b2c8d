"""Checkpoints of strangers: nothing runs, nothing blows up, each ends with one line; so does the program."""

import json
import subprocess
import sys

import pytest
import torch
from harness import REPO, command, environment, read_metrics
from hostile import small_net
from torch import nn

from diffkd_d2.checkpoint.checkpointer import Checkpointer
from diffkd_d2.engine.trainer import Trainer
from diffkd_d2.errors import UserError

# As initial weights of a student these are fine: Detectron2 takes what fits and says in the log what does not.
PARTIAL = ("another shape", "no axis", "missing key", "unexpected key", "model is a dict 2", "recursive dict")


@pytest.mark.parametrize(
    ("role", "count"),
    [
        pytest.param("teacher", 240, marks=pytest.mark.slow),
        pytest.param("student", 240, marks=pytest.mark.faults),
        pytest.param("resume", 170, marks=pytest.mark.faults),
    ],
)
def test_the_corpus_is_refused(role, count, tmp_path):
    run = subprocess.run(
        [sys.executable, str(REPO / "tests/helpers/judge_hostile.py"), str(tmp_path), role],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    report = json.loads(run.stdout.splitlines()[-1])
    print(role, len(report), max(r["seconds"] for r in report), max(r["more_mb"] for r in report))
    assert len(report) >= count
    assert [r["name"] for r in report if r["ran"]] == []
    taken = [r["name"] for r in report if not r["line"]]
    assert [name for name in taken if role != "student" or not name.startswith(PARTIAL)] == []
    assert [r["name"] for r in report if "\n" in r["line"] or len(r["line"]) > 1000] == []
    assert max(r["seconds"] for r in report) < 10 and max(r["more_mb"] for r in report) < 200


@pytest.mark.slow
@pytest.mark.parametrize(
    "key", ["model.teacher.weights", pytest.param("train.init_checkpoint", marks=pytest.mark.faults), "--resume"]
)
def test_the_program_ends_with_one_line_and_code_2(key, tiny_datasets, tmp_path):
    state = {k: torch.full_like(v, float("nan")) for k, v in small_net().state_dict().items() if v.is_floating_point()}
    torch.save({"model": state}, tmp_path / "model_0000001.pth")
    (tmp_path / "last_checkpoint").write_text("model_0000001.pth")
    options = [key] if key == "--resume" else [f"{key}={tmp_path / 'model_0000001.pth'}"]
    # Without --resume, a folder that holds a checkpoint is refused for that.
    words = command(tmp_path if key == "--resume" else tmp_path / "out", "train.max_iter=1", *options)
    run = subprocess.run(
        words, cwd=REPO, env=environment(tiny_datasets), capture_output=True, text=True, timeout=200, check=False
    )
    assert run.returncode == 2, run.stderr[-2000:]
    lines = [x for x in run.stderr.splitlines() if x.startswith("error:")]
    assert len(lines) == 1 and "model_0000001.pth" in lines[0] and "not finite" in lines[0]
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.update(iteration="12"),
        lambda t: t.update(iteration=-1),
        lambda t: t.update(iteration=1 << 60),
        lambda t: t.pop("iteration"),
        lambda t: t.pop("optimizer"),
        lambda t: t.update(optimizer={}),
        lambda t: t.update(optimizer=[]),
        lambda t: t.update(hooks=3),
        lambda t: t.update(guard={"skipped": "x"}),
        lambda t: t["optimizer"].update(state={0: {"momentum_buffer": torch.zeros(7, 7)}}),
        lambda t: t["optimizer"]["param_groups"].clear(),
        lambda t: t["optimizer"]["state"][0].update(momentum_buffer=torch.full((2, 3), float("nan"))),
    ],
)
def test_the_state_of_a_trainer_is_checked(change, tmp_path):
    def checkpointer():
        net = nn.Linear(3, 2)
        trainer = Trainer(net, [], torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9))
        return Checkpointer(net, str(tmp_path), trainer=trainer), trainer

    written, trainer = checkpointer()
    trainer.model(torch.ones(1, 3)).sum().backward()
    trainer.optimizer.step()
    trainer.iter = 5
    written.save("model_0000005")
    assert checkpointer()[0].resume()
    data = torch.load(tmp_path / "model_0000005.pth", weights_only=True)
    change(data["trainer"])
    torch.save(data, tmp_path / "model_0000005.pth")
    (tmp_path / "model_0000005.pth.sha256").unlink()
    with pytest.raises(UserError, match="model_0000005.pth"):
        checkpointer()[0].resume()


def test_metrics_of_a_resumed_run_are_cut(tmp_path):
    from diffkd_d2.engine.resume import cut_metrics

    lines = [{"iteration": i, "loss": 1.0} for i in (1, 3, 5)]
    path = tmp_path / "metrics.json"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"iteration": 7, "lo')
    assert cut_metrics(path, 3) == lines[2:]
    assert read_metrics(tmp_path) == lines[:2]
