"""Read checkpoints without executing code from them; write the student and the distillers."""

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.checkpoint.c2_model_loading import align_and_update_state_dicts
from fvcore.common.checkpoint import Checkpointer as FvcoreCheckpointer
from fvcore.common.checkpoint import _IncompatibleKeys
from torch import nn

from ..errors import UserError
from . import published  # noqa: F401  registers torchvision:// and timm:// as paths
from .conversion import place
from .files import HASH_SUFFIX, check_hash, file_sha256, first_line, hash_of, read_checkpoint, write_whole
from .forms import KEYS, describe, find_weights, split_query, unwrap
from .run_folder import check_parts, check_run, read_run_id
from .torch_screen import tensors_in


class Checkpointer(DetectionCheckpointer):
    """Detectron2's checkpointer with safe reading.

    `Checkpointer(model.student, output_dir, distillers=model.points, trainer=trainer)` writes files whose key `model`
    holds the student alone under Detectron2's own names. After `load`, `incompatible` holds the missing, unexpected and
    wrongly shaped keys, `loaded` the names of the loaded tensors, and `sha256` the hash of the file.
    """

    incompatible: _IncompatibleKeys | None = None
    loaded: Sequence[str] = ()
    sha256: str = ""
    _prefix, _heuristics, _source, _door = "", False, "", ""

    def __init__(self, model: nn.Module, *args: Any, **kwargs: Any):
        # A Classifier names the bare network to read and write, so that its keys have no prefix.
        super().__init__(getattr(model, "bare_model", model), *args, **kwargs)

    def load(self, path: str, checkpointables: list[str] | None = None, prefix: str = "") -> dict[str, Any]:
        """Load `path` and log how many tensors of the model were loaded.

        Args:
            path: a file, `detectron2://...`, `https://...`, `torchvision://...` or `timm://...`; "" loads nothing. The
                suffix `?matching_heuristics=True` matches names by their ends, as in Detectron2.
            checkpointables: what to load besides the model. If None, everything in the file.
            prefix: place of a bare backbone in the model, such as "backbone.bottom_up"; the file may have torchvision's
                names (see `conversion.place`).

        Returns:
            the remaining contents of the file.

        Raises:
            UserError: if the file is missing, cannot be downloaded or read, or has no tensor that fits the model.
        """
        self._prefix, (address, self._heuristics) = prefix, split_query(path)
        try:
            # Detectron2's own `load` parses the query on main, but not on v0.6.
            return FvcoreCheckpointer.load(self, address, checkpointables)
        except UserError:
            raise
        except Exception as error:  # an untrusted file can raise anything
            raise UserError(f"cannot load checkpoint {path}: {first_line(error)}") from error

    def save(self, name: str, **kwargs: Any) -> None:
        """Write `<name>.pth`, its hash and the pointer `last_checkpoint`, each completely or not at all.

        The hash is in `<name>.pth.sha256`, in the format of `sha256sum -c`.

        Raises:
            UserError: if the disk is full or not writable; earlier checkpoints stay as they are.
        """
        if not self.save_dir or not self.save_to_disk:
            return
        data = {"model": self.model.state_dict(), **{k: v.state_dict() for k, v in self.checkpointables.items()}}
        path = Path(self.save_dir) / f"{name}.pth"
        self.logger.info(f"Saving checkpoint to {path}")
        try:
            # Remove the hash of an older file just before it is replaced: no hash is better than a wrong one.
            write_whole(path, lambda file: torch.save({**data, **kwargs}, file), hash_of(path))
            line = f"{file_sha256(path)}  {path.name}\n"
            write_whole(hash_of(path), lambda file: file.write(line.encode()))
            write_whole(Path(self.save_dir) / "last_checkpoint", lambda file: file.write(path.name.encode()))
        except (OSError, RuntimeError) as error:
            raise UserError(f"cannot write checkpoint {path}: {first_line(error)}") from error
        for orphan in Path(self.save_dir).glob(f"*.pth{HASH_SUFFIX}"):  # hashes of deleted checkpoints
            if not orphan.with_suffix("").exists():
                orphan.unlink(missing_ok=True)

    def resume(self) -> bool:
        """Load the last checkpoint of this run in `save_dir`, and require every key; return whether there was one.

        If a checkpoint is damaged (its hash differs, or it cannot be read), warn and try the one before it. A
        checkpoint of another run than that in `run.json` is never loaded. Partial files of an interrupted `save` are
        removed.

        Raises:
            UserError: if no checkpoint of this run can be read, or a key of model or distillers does not fit.
        """
        folder = Path(self.save_dir)
        if self.save_to_disk:
            for partial in folder.glob("*.partial"):
                partial.unlink(missing_ok=True)
        # Without the pointer, the run may have died just after its first checkpoint; files with a hash are complete.
        last = [Path(self.get_checkpoint_file())] if self.has_checkpoint() else []
        others = [p for p in sorted(folder.glob("model_[0-9]*.pth"), reverse=True) if last or hash_of(p).exists()]
        candidates = last + [p for p in others if p not in last]
        if not candidates:
            return False
        run = read_run_id(folder)
        for path in candidates:
            try:
                check_hash(path)
                data = read_checkpoint(path)
                check_run(data, run, path)
            except UserError as error:
                self.logger.warning(f"{error}; trying the checkpoint before it")
                continue
            check_finite(data, str(path))
            check_parts(data, self.checkpointables, str(path))
            self.load(str(path))
            require_all_keys(self.incompatible, str(path))
            return True
        of_run = f" and is of run {run}, which run.json names" if run else ""
        raise UserError(f"--resume: no checkpoint in {folder} can be read{of_run}")

    def _load_file(self, filename: str) -> dict[str, Any]:
        self.sha256 = file_sha256(filename)
        data = read_checkpoint(filename)
        check_finite(data, filename)
        checkpoint, key = find_weights(data, filename)
        others = [k for k in KEYS if k in data and k != key]
        if others:
            self.logger.info(f"{filename} holds weights under '{key}' and {others}; those under '{key}' are read")
        kind = describe(data, checkpoint["model"], key)
        self._source = f"{filename} ({kind}sha256 {self.sha256[:12]})"
        bare = kind.startswith("a bare")
        self._door = "; train.init_prefix says which part of a model a bare backbone belongs to" if bare else ""
        heuristics = self._heuristics or checkpoint.get("matching_heuristics", False)
        return {**checkpoint, "matching_heuristics": heuristics}

    def _load_model(self, checkpoint: Any) -> _IncompatibleKeys:
        ours, in_file = self.model.state_dict(), checkpoint["model"]
        self._convert_ndarray_to_tensor(in_file)
        weights, words = self._rename(checkpoint, ours)
        for key, value in weights.items():
            known = ours.get(key)
            if known is not None and value.is_floating_point() != known.is_floating_point():
                raise ValueError(f"{key} is of type {value.dtype}, expected {known.dtype}")
        incompatible = super()._load_model({"model": copy(weights)})
        part = self._prefix and self._prefix.rstrip(".") + "."
        missing = [n for n in incompatible.missing_keys if n.startswith(part)]
        wrong = {name for name, _, _ in incompatible.incorrect_shapes}
        # `num_batches_tracked` is not a weight. A key that is neither in the file nor missing was filled by the model
        # itself (Detectron2's FrozenBatchNorm2d fills the statistics of old files).
        self.loaded = [n for n in ours if n in weights and n not in wrong and not n.endswith("num_batches_tracked")]
        absent = [n for n in missing if not n.endswith("num_batches_tracked")]
        where = f"{len(self.loaded) + len(absent)} tensors" + (f" of {self._prefix}" if part else "")
        if not self.loaded and wrong:
            shapes = [f"{k} {tuple(a)} for {tuple(b)}" for k, a, b in incompatible.incorrect_shapes]
            raise UserError(f"none of {where} fits {self._source}: of another shape are {first_of(shapes)}")
        if not self.loaded:
            raise UserError(
                f"none of {where} is in {self._source}: its names are {first_of(in_file)}; the model's are "
                f"{first_of(absent)}{'' if part else self._door}"
            )
        self.logger.info(f"{len(self.loaded)} of {where} loaded from {self._source}{words}")
        return incompatible._replace(missing_keys=missing)

    def _rename(self, checkpoint: Mapping[str, Any], ours: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        """Return the weights under the model's names, and a description of how the file's names were changed."""
        in_file = checkpoint["model"]
        if checkpoint["matching_heuristics"]:
            caffe2 = checkpoint.get("__author__") == "Caffe2"
            return align_and_update_state_dicts(ours, in_file, c2_conversion=caffe2), ", matched by the ends of names"
        if self._prefix:
            weights, words = place(in_file, ours, self._prefix)
            placed = {id(value) for value in weights.values()}
            left = [n for n, v in in_file.items() if id(v) not in placed and not n.endswith("num_batches_tracked")]
            words = f" by {words}"
        else:
            wrapper, weights = unwrap(in_file, ours)
            left = [n for n in in_file if not n.startswith(wrapper)]
            words = f", without '{wrapper}' before their names" if wrapper else ""
        return weights, words + (f"; left out: {first_of(left)}" if left else "")

    def _log_incompatible_keys(self, incompatible: _IncompatibleKeys) -> None:
        self.incompatible = incompatible
        if incompatible.incorrect_shapes:  # fvcore would log a line for each
            shapes = [f"{k} {tuple(a)} for {tuple(b)}" for k, a, b in incompatible.incorrect_shapes]
            self.logger.warning(f"{len(shapes)} tensors are of another shape: {first_of(shapes)}")
        super()._log_incompatible_keys(incompatible._replace(incorrect_shapes=[]))


def check_finite(data: dict[str, Any], source: str) -> None:
    """Raise UserError if a tensor of a checkpoint holds NaN or Inf."""
    for key, value in tensors_in(data):
        if value.is_floating_point() and not value.isfinite().all():
            raise UserError(f"checkpoint {source}: {key} holds values that are not finite")


def require_all_keys(incompatible: _IncompatibleKeys | None, source: str, expected: Sequence[str] | str = ()) -> None:
    """Raise UserError naming the first keys that did not fit, unless they start with a prefix in `expected`."""
    if incompatible is None:
        return
    prefixes = tuple(entries(expected, "expected_missing"))
    shapes = {k: f"{k} {tuple(a)} for {tuple(b)}" for k, a, b in incompatible.incorrect_shapes}
    wrong = {
        "missing": [k for k in incompatible.missing_keys if not k.endswith("num_batches_tracked") and k not in shapes],
        "unexpected": list(incompatible.unexpected_keys),
        "wrongly shaped": list(shapes),
    }
    found = []
    for kind, keys in wrong.items():
        keys = [shapes.get(k, k) for k in keys if not k.startswith(prefixes)]
        if keys:
            found.append(f"{len(keys)} {kind}: {first_of(keys)}")
    if found:
        raise UserError(f"{source} does not fit the model: {'; '.join(found)}")


def first_of(names: Iterable[str]) -> str:
    """Return the first three names and the number of further ones, as text."""
    names = list(names)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def entries(value: Sequence[str] | str, what: str) -> list[str]:
    """Return a list of prefixes; a single string is one entry.

    Raises:
        UserError: if an entry is not a string, or is empty and would match every name.
    """
    listed = [value] if isinstance(value, str) else list(value or ())
    for entry in listed:
        if not isinstance(entry, str) or not entry:
            raise UserError(f"{what} holds {entry!r}, expected the beginnings of names, such as 'backbone.fpn'")
    return listed
