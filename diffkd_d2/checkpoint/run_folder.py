"""The output folder of a run and the run's id, so that checkpoints of different runs are never mixed."""

import json
import logging
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from detectron2.utils import comm
from torch import nn

from ..errors import UserError
from .files import hash_of, write_whole

logger = logging.getLogger(__name__)

RUN_FILE = "run.json"


class Run:
    """The identity of a run; a checkpointable, so that each checkpoint has the run's id.

    Args:
        folder: the run's output folder, claimed by `claim_folder`.
        points: names of the distillation points in order; a checkpoint must have the same.
        settings: name -> value of settings that a checkpoint does not restore; on resume these values apply, and
            differences from the checkpoint are logged.
    """

    def __init__(self, folder: str | Path, points: Iterable[str] = (), settings: Mapping[str, Any] | None = None):
        self.id = read_run_id(folder)
        self.points, self.settings = list(points), dict(settings or {})

    def state_dict(self) -> dict[str, Any]:
        """Return id, points and settings."""
        return {"id": self.id, "points": self.points, "settings": self.settings}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set the checkpoint's id and log which settings differ."""
        self.id = state["id"]
        for name, value in self.settings.items():
            before = state["settings"].get(name, value)
            if before != value:
                logger.warning(f"--resume: {name} is {value}, in the checkpoint {before}; this run uses {value}")

    def check_points(self, state: dict[str, Any]) -> None:
        """Raise UserError if the points of a checkpoint or their order differ."""
        if list(state["points"]) != self.points:
            raise UserError(
                f"--resume: the points are {', '.join(self.points) or 'none'}; "
                f"in the checkpoint they are {', '.join(state['points']) or 'none'}"
            )


def read_run_id(folder: str | Path) -> str | None:
    """Return the id in a folder's `run.json`. If there is no such file, as in old folders, return None.

    Raises:
        UserError: if the file holds no id.
    """
    path = Path(folder) / RUN_FILE
    if not path.is_file():
        return None
    try:
        return str(json.loads(path.read_text())["id"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged: it holds no id of a run") from error


def check_run(data: Mapping[str, Any], run: str | None, source: str | Path) -> None:
    """Raise UserError if a checkpoint is of another run than `run`. If `run` is None, accept any."""
    record = data.get("run")
    of_run = record.get("id") if isinstance(record, dict) else None
    if run and of_run != run:
        raise UserError(f"checkpoint {source} is of run {of_run or 'without an id'}, {RUN_FILE} names {run}")


def claim_folder(
    folder: str | Path,
    resume: bool,
    overwrite: bool = False,
    reads: Iterable[str] = (),
    dry_run: bool = False,
    device: str = "CPU",
) -> None:
    """Write the `run.json` of a new run into a folder. On resume, add the device, and leave all else as it is.

    Checkpoints of the previous run stay until `clear_folder`, but `Checkpointer.resume` no longer loads them.

    Args:
        folder: the output folder.
        resume: whether `--resume` was given.
        overwrite: whether checkpoints of another run are allowed.
        reads: files that the new run reads, such as its teacher's weights.
        dry_run: whether only to check that the folder may be claimed.
        device: name of what the run trains on from now.

    Raises:
        UserError: if there are checkpoints but neither `resume` nor `overwrite`, or the run reads one that would be
            removed.
    """
    used = checkpoints_in(folder)
    if used and not resume:
        if not overwrite:
            raise UserError(
                f"train.output_dir '{folder}' holds checkpoints of another run ({used[-1].name}): go on with it by "
                "--resume, choose another folder, or let train.overwrite=True remove them"
            )
        for path in {Path(x).resolve() for x in reads} & {x.resolve() for x in used}:
            raise UserError(f"train.overwrite=True would remove {path}, which this run reads")
    run = read_run_id(folder) if resume else None
    is_old_folder_without_id = bool(used) and resume and run is None
    if dry_run or is_old_folder_without_id or not comm.is_main_process():
        return
    path = Path(folder) / RUN_FILE
    devices = json.loads(path.read_text()).get("devices", ["unknown"]) if run else []
    record = {"id": run or uuid.uuid4().hex[:12], "devices": list(dict.fromkeys([*devices, device]))}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda file: file.write((json.dumps(record) + "\n").encode()))


def checkpoints_in(folder: str | Path) -> list[Path]:
    """Return the checkpoints in a folder."""
    names = ("model_[0-9]*.pth", "model_final.pth", "model_ema.pth")
    return sorted(path for name in names for path in Path(folder).glob(name))


def clear_folder(folder: str | Path) -> None:
    """Remove the previous run's checkpoints, their hashes, the pointer to the last one, its results and events.

    Results and TensorBoard's files of events are the previous run's if they are older than `run.json`.
    """
    folder = Path(folder)
    claimed = (folder / RUN_FILE).stat().st_mtime if (folder / RUN_FILE).exists() else 0.0
    others = [*folder.glob("results*.json"), *folder.glob("events.out.tfevents.*")]
    left = [folder / "last_checkpoint", *(path for path in others if path.stat().st_mtime < claimed)]
    for path in [*left, *checkpoints_in(folder), *map(hash_of, checkpoints_in(folder))]:
        path.unlink(missing_ok=True)


def check_parts(data: Mapping[str, Any], parts: Mapping[str, Any], source: str) -> None:
    """Compare a checkpoint's parts besides the model with the parts to be restored.

    Raises:
        UserError: if a part is missing, or the tensors of a module (the distillers) differ in name or shape.
    """
    for name, part in parts.items():
        if name == "run" and name not in data:  # an old checkpoint without an id
            part.id = None
        elif name == "run":
            part.check_points(data[name])
        elif name == "ema" and name not in data:
            logger.warning(f"--resume: {source} has no average of the student: it begins anew")
        elif name == "classes" and name not in data:
            logger.info(f"--resume: {source} names no classes, so they are not compared")
        elif name not in data:
            raise UserError(f"--resume: {source} has no '{name}'; as weights alone it can be train.init_checkpoint")
        elif isinstance(part, nn.Module) and isinstance(data[name], dict):
            ours, theirs = part.state_dict(), data[name]
            wrong = [k for k in (*ours, *theirs) if _shape(ours.get(k)) != _shape(theirs.get(k))]
            if wrong:
                labels = {i: getattr(child, "name", i) for i, child in part.named_children()}
                where = dict.fromkeys(labels.get(k.partition(".")[0], k.partition(".")[0]) for k in wrong)
                raise UserError(
                    f"--resume: {name} of {source} are of another kind at {', '.join(map(str, where))}: {wrong[0]} is "
                    f"{_shape(theirs.get(wrong[0]))} in the checkpoint, {_shape(ours.get(wrong[0]))} here"
                )


def _shape(tensor: Any) -> tuple[int, ...] | str:
    return tuple(tensor.shape) if hasattr(tensor, "shape") else "not there"
