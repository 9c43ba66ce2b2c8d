"""Reading checkpoints without running code from them; writing the student and the distillers."""

from . import _detectron2  # noqa: F401

# isort: split

import collections
import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from detectron2.checkpoint import DetectionCheckpointer
from fvcore.common.checkpoint import _IncompatibleKeys
from torch import nn

from .errors import UserError


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
        except (OSError, AssertionError, KeyError, RuntimeError, AttributeError, TypeError, ValueError) as error:
            raise UserError(f"cannot load checkpoint {path}: {_one_line(error)}") from error

    def save(self, name: str, **kwargs: Any) -> None:
        """Write `<name>.pth` and the pointer `last_checkpoint`, as fvcore does, but each whole or not at all.

        Raises:
            UserError: if the disk is full or not writable; the checkpoints from before stay as they are.
        """
        if not self.save_dir or not self.save_to_disk:
            return
        data = {"model": self.model.state_dict(), **{k: v.state_dict() for k, v in self.checkpointables.items()}}
        path = Path(self.save_dir) / f"{name}.pth"
        self.logger.info(f"Saving checkpoint to {path}")
        try:
            _write_whole(path, lambda file: torch.save({**data, **kwargs}, file))
            _write_whole(Path(self.save_dir) / "last_checkpoint", lambda file: file.write(path.name.encode()))
        except (OSError, RuntimeError) as error:
            raise UserError(f"cannot write checkpoint {path}: {_one_line(error)}") from error

    def resume(self) -> bool:
        """Load the last checkpoint of `save_dir`, every key of it; return whether there was one.

        Where the last one is damaged, the one before it is taken, with a warning.

        Raises:
            UserError: if none can be read, or a key of the student is missing, unexpected or wrongly shaped.
        """
        if not self.has_checkpoint():
            return False
        last = Path(self.get_checkpoint_file())
        older = sorted(last.parent.glob("model_[0-9]*.pth"), reverse=True)
        for path in [last, *(p for p in older if p != last)]:
            try:
                read_checkpoint(path)
            except UserError as error:
                self.logger.warning(f"{error}; trying the checkpoint before it")
                continue
            self.load(str(path))
            require_all_keys(self.incompatible, str(path))
            return True
        raise UserError(f"--resume: no checkpoint in {last.parent} can be read")

    def _load_file(self, filename: str) -> dict[str, Any]:
        self.sha256 = file_sha256(filename)
        data = read_checkpoint(filename)
        if filename.endswith(".pkl") and not ("model" in data and "__author__" in data):
            # The Caffe2 files of Detectron (the ImageNet backbones): flat, or under "blobs".
            blobs = data.get("blobs", data)
            weights = {k: v for k, v in blobs.items() if not k.endswith("_momentum")}
            return {"model": weights, "__author__": "Caffe2", "matching_heuristics": True}
        return data if "model" in data else {"model": data}

    def _log_incompatible_keys(self, incompatible: _IncompatibleKeys) -> None:
        self.incompatible = incompatible
        super()._log_incompatible_keys(incompatible)


def write_weights(path: str | Path, model: nn.Module) -> None:
    """Write the weights of a model alone, in the form of a checkpoint.

    Raises:
        UserError: if the disk is full or not writable.
    """
    state = getattr(model, "bare_model", model).state_dict()
    try:
        _write_whole(Path(path), lambda file: torch.save({"model": state}, file))
    except (OSError, RuntimeError) as error:
        raise UserError(f"cannot write {path}: {_one_line(error)}") from error


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


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Return the dict in a `.pkl` (numpy) or torch file; no code from the file is run.

    Raises:
        UserError: if the file is not readable as such, or holds anything but tensors, arrays and containers.
    """
    try:
        if str(path).endswith(".pkl"):
            with open(path, "rb") as file:
                data = _ArrayUnpickler(file, encoding="latin1").load()
        else:
            data = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"checkpoint {path} is not there") from None
    except Exception as error:  # unpicklers raise whatever the damage leads them to
        raise UserError(f"cannot read checkpoint {path}: {_one_line(error)}") from error
    if not isinstance(data, dict):
        raise UserError(f"checkpoint {path} holds a {type(data).__name__}, expected a dict")
    return data


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits; UserError if it is not there."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise UserError(f"cannot read checkpoint {path}: {_one_line(error)}") from None
    return digest.hexdigest()


def _write_whole(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


class _ArrayUnpickler(pickle.Unpickler):
    """Admits numpy arrays and plain containers, nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy._core", "numpy.core")
        admitted = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("numpy.core.multiarray", "_reconstruct"): _empty_array,
            ("numpy.core.multiarray", "scalar"): _scalar,
            ("_codecs", "encode"): _encode,
        }
        if (module, name) not in admitted:
            raise pickle.UnpicklingError(f"it wants to run {module}.{name}")
        return admitted[module, name]


def _empty_array(*_: Any) -> np.ndarray:
    # Its state arrives afterwards; a shape declared here would only serve to exhaust the memory.
    return np.ndarray.__new__(np.ndarray, (0,), "b")


def _scalar(dtype: np.dtype, data: bytes) -> np.generic:
    return np.frombuffer(data, dtype)[0]


def _encode(text: str, encoding: str = "latin1") -> bytes:
    return text.encode("latin1")


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
