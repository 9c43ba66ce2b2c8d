"""Read checkpoint files as data; write them completely or not at all, with a hash."""

import hashlib
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import nn

from ..errors import UserError
from .numpy_pickle import build_arrays, read_arrays, stand_ins
from .torch_screen import check_torch_file, tensors_in

HASH_SUFFIX = ".sha256"


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Return the dict in a `.pkl` (numpy) or torch file, whatever its name, without executing code from it.

    Raises:
        UserError: if the file cannot be read, or holds anything other than tensors, arrays and plain containers.
    """
    try:
        if str(path).endswith(".pkl") and not zipfile.is_zipfile(path):  # torch's files are zip archives
            data = read_arrays(path)
        else:
            check_torch_file(path)
            data = _load_torch_file(path)
    except FileNotFoundError:
        raise UserError(f"checkpoint {path} is not there") from None
    except Exception as error:  # a damaged file can raise anything
        raise UserError(f"cannot read checkpoint {path}: {first_line(error)}") from error
    if not isinstance(data, dict):
        raise UserError(f"checkpoint {path} holds a {type(data).__name__}, expected a dict")
    try:
        for key, value in tensors_in(data):
            if value.numel() * value.element_size() > value.untyped_storage().nbytes():
                raise ValueError(f"{key} declares more values than it has")
    except (ValueError, TypeError, RuntimeError) as error:  # some kinds of tensors have no storage
        raise UserError(f"cannot read checkpoint {path}: {first_line(error)}") from error
    return data


def _load_torch_file(path: str | Path) -> Any:
    # torch before 2.5 has no such list and refuses a file with numpy arrays.
    admit = getattr(torch.serialization, "safe_globals", lambda _: nullcontext())
    try:
        with admit(stand_ins()):
            return build_arrays(torch.load(path, map_location="cpu", weights_only=True))
    except pickle.UnpicklingError as error:
        # Drop torch's advice to load with weights_only=False, which would execute the file.
        raise pickle.UnpicklingError(str(error).rpartition("WeightsUnpickler error:")[2]) from error


def write_weights(path: str | Path, model: nn.Module) -> None:
    """Write only the weights of a model, in the format of a checkpoint.

    Raises:
        UserError: if the disk is full or not writable.
    """
    state = getattr(model, "bare_model", model).state_dict()
    try:
        write_whole(Path(path), lambda file: torch.save({"model": state}, file))
    except (OSError, RuntimeError) as error:
        raise UserError(f"cannot write {path}: {first_line(error)}") from error


def write_whole(path: Path, write: Callable[[BinaryIO], Any], outdated: Path | None = None) -> None:
    """Write a file completely or not at all; delete the file `outdated` just before it appears."""
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if outdated is not None:
            outdated.unlink(missing_ok=True)
        partial.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # so that the file name survives a power cut
        finally:
            os.close(folder)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file completely or not at all."""
    write_whole(path, lambda file: file.write(f"{json.dumps(content, indent=2)}\n".encode()))


def hash_of(path: Path) -> Path:
    """Return the path of a checkpoint's hash file."""
    return path.with_name(path.name + HASH_SUFFIX)


def check_hash(path: Path) -> None:
    """Raise UserError if a checkpoint has a hash file that does not match."""
    if hash_of(path).exists() and hash_of(path).read_text(errors="replace").split()[:1] != [file_sha256(path)]:
        raise UserError(f"checkpoint {path} is damaged: it has not the hash that it was written with")


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits. Raise UserError if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise UserError(f"cannot read checkpoint {path}: {first_line(error)}") from None
    return digest.hexdigest()


def first_line(error: Exception) -> str:
    """Return the first non-empty line of an error message, or the error's class name."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
