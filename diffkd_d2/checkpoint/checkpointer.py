"""Reading checkpoints without running code from them; writing the student and the distillers."""

from pathlib import Path
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer
from fvcore.common.checkpoint import _IncompatibleKeys
from torch import nn

from ..errors import UserError
from .files import HASH_SUFFIX, check_hash, file_sha256, first_line, hash_of, read_checkpoint, write_whole
from .torch_screen import tensors_in


class Checkpointer(DetectionCheckpointer):
    """Detectron2's checkpointer, reading safely.

    `Checkpointer(model.student, output_dir, distillers=model.points, trainer=trainer)` writes files whose
    key `model` holds the student alone under Detectron2's own names. After `load`, `incompatible` holds
    the missing, unexpected and wrongly shaped keys, and `sha256` the hash of the file.
    """

    incompatible: _IncompatibleKeys | None = None
    sha256: str = ""

    def __init__(self, model: nn.Module, *args: Any, **kwargs: Any):
        # A wrapper that is to leave no trace in the names (a Classifier) says what to read and write in its place.
        super().__init__(getattr(model, "bare_model", model), *args, **kwargs)

    def load(self, path: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Load `path` (a file, `detectron2://...` or `https://...`); see fvcore's `Checkpointer.load`.

        Raises:
            UserError: if the file is not there, cannot be fetched, or is no readable checkpoint.
        """
        try:
            return super().load(path, *args, **kwargs)
        except UserError:
            raise
        except Exception as error:  # a stranger's file leads to any of them
            raise UserError(f"cannot load checkpoint {path}: {first_line(error)}") from error

    def save(self, name: str, **kwargs: Any) -> None:
        """Write `<name>.pth`, its hash and the pointer `last_checkpoint`; each file whole or not at all.

        The hash lies in `<name>.pth.sha256`, as `sha256sum -c` reads it.

        Raises:
            UserError: if the disk is full or not writable; the checkpoints from before stay as they are.
        """
        if not self.save_dir or not self.save_to_disk:
            return
        data = {"model": self.model.state_dict(), **{k: v.state_dict() for k, v in self.checkpointables.items()}}
        path = Path(self.save_dir) / f"{name}.pth"
        self.logger.info(f"Saving checkpoint to {path}")
        try:
            # The hash of a file of that name from before goes just in time: better none than a wrong one.
            write_whole(path, lambda file: torch.save({**data, **kwargs}, file), hash_of(path))
            line = f"{file_sha256(path)}  {path.name}\n"
            write_whole(hash_of(path), lambda file: file.write(line.encode()))
            write_whole(Path(self.save_dir) / "last_checkpoint", lambda file: file.write(path.name.encode()))
        except (OSError, RuntimeError) as error:
            raise UserError(f"cannot write checkpoint {path}: {first_line(error)}") from error
        for orphan in Path(self.save_dir).glob(f"*.pth{HASH_SUFFIX}"):  # of checkpoints that were pruned
            if not orphan.with_suffix("").exists():
                orphan.unlink(missing_ok=True)

    def resume(self) -> bool:
        """Load the last checkpoint of `save_dir`, every key of it; return whether there was one.

        Where the last one is damaged (its hash differs, or it cannot be read), the one before it is taken, with a
        warning. What an interrupted `save` left behind is removed.

        Raises:
            UserError: if none can be read, or a key of the student is missing, unexpected or wrongly shaped.
        """
        folder = Path(self.save_dir)
        if self.save_to_disk:
            for partial in folder.glob("*.partial"):
                partial.unlink(missing_ok=True)
        # Without the pointer, a run may have died just after its first checkpoint: those with a hash are whole.
        last = [Path(self.get_checkpoint_file())] if self.has_checkpoint() else []
        others = [p for p in sorted(folder.glob("model_[0-9]*.pth"), reverse=True) if last or hash_of(p).exists()]
        candidates = last + [p for p in others if p not in last]
        if not candidates:
            return False
        for path in candidates:
            try:
                check_hash(path)
                read_checkpoint(path)
            except UserError as error:
                self.logger.warning(f"{error}; trying the checkpoint before it")
                continue
            self.load(str(path))
            require_all_keys(self.incompatible, str(path))
            return True
        raise UserError(f"--resume: no checkpoint in {folder} can be read")

    def _load_file(self, filename: str) -> dict[str, Any]:
        self.sha256 = file_sha256(filename)
        data = read_checkpoint(filename)
        for key, value in tensors_in(data):
            if value.is_floating_point() and not value.isfinite().all():
                raise UserError(f"checkpoint {filename}: {key} holds values that are not finite")
        if filename.endswith(".pkl") and not ("model" in data and "__author__" in data):
            # The Caffe2 files of Detectron (the ImageNet backbones): flat, or under "blobs".
            blobs = data.get("blobs", data)
            weights = {k: v for k, v in blobs.items() if not k.endswith("_momentum")}
            return {"model": weights, "__author__": "Caffe2", "matching_heuristics": True}
        return data if "model" in data else {"model": data}

    def _load_model(self, checkpoint: Any) -> _IncompatibleKeys:
        ours = self.model.state_dict()
        for key, value in checkpoint["model"].items():
            known = ours.get(key)
            if known is not None and torch.as_tensor(value).is_floating_point() != known.is_floating_point():
                raise ValueError(f"{key} is of type {value.dtype}, expected {known.dtype}")
        return super()._load_model(checkpoint)

    def _log_incompatible_keys(self, incompatible: _IncompatibleKeys) -> None:
        self.incompatible = incompatible
        super()._log_incompatible_keys(incompatible)


def require_all_keys(
    incompatible: _IncompatibleKeys | None, source: str, expected: tuple[str, ...] | list[str] = ()
) -> None:
    """Raise UserError naming the first keys that did not fit, unless they start with a prefix in `expected`."""
    if incompatible is None:
        return
    wrong = {
        "missing": [k for k in incompatible.missing_keys if not k.endswith("num_batches_tracked")],
        "unexpected": list(incompatible.unexpected_keys),
        "wrongly shaped": [f"{k} {tuple(a)} for {tuple(b)}" for k, a, b in incompatible.incorrect_shapes],
    }
    found = []
    for kind, keys in wrong.items():
        keys = [k for k in keys if not k.startswith(tuple(expected))] if expected else keys
        if keys:
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            found.append(f"{len(keys)} {kind}: {', '.join(keys[:3])}{more}")
    if found:
        raise UserError(f"{source} does not fit the model: {'; '.join(found)}")
