"""Processes: their exit codes, and how many there may be."""

from argparse import Namespace

import pytest
import torch
from torch.multiprocessing import ProcessExitedException

from diffkd_d2.engine import launch
from diffkd_d2.errors import UserError


@pytest.mark.parametrize(("code", "expected"), [(2, SystemExit), (143, SystemExit), (-9, ProcessExitedException)])
def test_exit_code_of_a_child_process(code, expected, monkeypatch):
    def fail(*_, **__):
        raise ProcessExitedException("process 1 ended", error_index=0, error_pid=1, exit_code=code)

    monkeypatch.setattr(launch, "detectron2_launch", fail)
    args = Namespace(num_gpus=1, num_machines=1, machine_rank=0, dist_url="auto", resume=False)
    with pytest.raises(expected) as ended:
        launch.launch(print, args)
    assert getattr(ended.value, "code", code) == code


def test_more_gpus_than_there_are():
    launch.check_gpus(max(torch.cuda.device_count(), 1))
    with pytest.raises(UserError, match="--num-gpus 99"):
        launch.check_gpus(99)
    with pytest.raises(UserError, match="--num-gpus -1"):
        launch.check_gpus(-1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="looks at a machine without a GPU")
def test_several_machines_without_gpus_are_refused():
    with pytest.raises(UserError, match="torchrun --nnodes"):
        launch.check_gpus(1, machines=2)
