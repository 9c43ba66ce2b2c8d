"""Reading checkpoints without running code from them; writing the student and the distillers."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.checkpoint.c2_model_loading import align_and_update_state_dicts
from fvcore.common.checkpoint import Checkpointer as FvcoreCheckpointer
from fvcore.common.checkpoint import _IncompatibleKeys
from torch import nn

from ..errors import UserError
from .conversion import place
from .files import HASH_SUFFIX, check_hash, file_sha256, first_line, hash_of, read_checkpoint, write_whole
from .forms import KEYS, describe, find_weights, split_query, unwrap
from .run_folder import check_parts, check_run, read_run_id
from .torch_screen import tensors_in


class Checkpointer(DetectionCheckpointer):
    """Detectron2's checkpointer, reading safely.

    `Checkpointer(model.student, output_dir, distillers=model.points, trainer=trainer)` writes files whose
    key `model` holds the student alone under Detectron2's own names. After `load`, `incompatible` holds
    the missing, unexpected and wrongly shaped keys, `loaded` the names of the tensors that were loaded, and `sha256`
    the hash of the file.
    """

    incompatible: _IncompatibleKeys | None = None
    loaded: Sequence[str] = ()
    sha256: str = ""
    _prefix, _heuristics, _source, _door = "", False, "", ""

    def __init__(self, model: nn.Module, *args: Any, **kwargs: Any):
        # A wrapper that is to leave no trace in the names (a Classifier) says what to read and write in its place.
        super().__init__(getattr(model, "bare_model", model), *args, **kwargs)

    def load(self, path: str, checkpointables: list[str] | None = None, prefix: str = "") -> dict[str, Any]:
        """Load `path` and log how many tensors of the model were loaded.

        Args:
            path: a file, `detectron2://...`, `https://...`, `torchvision://...` or `timm://...`; "" loads nothing. With
                `?matching_heuristics=True` behind it, names are matched by their ends, as in Detectron2.
            checkpointables: what to load beside the model; None: all that the file has.
            prefix: of the part of the model that a file of a bare backbone belongs to, such as "backbone.bottom_up";
                the file's names may be torchvision's (see `conversion.place`).

        Returns:
            what else the file holds.

        Raises:
            UserError: if the file is not there, cannot be fetched, is no readable checkpoint, or holds no tensor that
                fits the model.
        """
        self._prefix, (address, self._heuristics) = prefix, split_query(path)
        try:
            # Detectron2's own `load` takes the query off the path on main, but not on v0.6.
            return FvcoreCheckpointer.load(self, address, checkpointables)
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
            # Remove an older file's hash just in time: no hash is better than a wrong one.
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
        """Load the last checkpoint of this run in `save_dir`, every key of it; return whether there was one.

        A damaged one (its hash differs, or it cannot be read) gives way to the one before it, with a warning. One of
        another run than `run.json` names is never taken. What an interrupted `save` left behind is removed.

        Raises:
            UserError: if none can be read, all are of other runs, or a key of model or distillers does not fit.
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
        run = read_run_id(folder)
        for path in candidates:
            try:
                check_hash(path)
                data = read_checkpoint(path)
                check_run(data, run, path)
            except UserError as error:
                self.logger.warning(f"{error}; trying the checkpoint before it")
                continue
            check_parts(data, self.checkpointables, str(path))
            self.load(str(path))
            require_all_keys(self.incompatible, str(path))
            return True
        of_run = f" and is of run {run}, which run.json names" if run else ""
        raise UserError(f"--resume: no checkpoint in {folder} can be read{of_run}")

    def _load_file(self, filename: str) -> dict[str, Any]:
        self.sha256 = file_sha256(filename)
        data = read_checkpoint(filename)
        for key, value in tensors_in(data):
            if value.is_floating_point() and not value.isfinite().all():
                raise UserError(f"checkpoint {filename}: {key} holds values that are not finite")
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
        incompatible = super()._load_model({"model": dict(weights)})
        part = self._prefix and self._prefix.rstrip(".") + "."
        missing = [n for n in incompatible.missing_keys if n.startswith(part)]
        wrong = {name for name, _, _ in incompatible.incorrect_shapes}
        # What counts the steps of a batch norm is no weight. What is neither here nor missing, the model fills itself
        # (Detectron2's FrozenBatchNorm2d the statistics of old files).
        self.loaded = [n for n in ours if n in weights and n not in wrong and not n.endswith("num_batches_tracked")]
        absent = [n for n in missing if not n.endswith("num_batches_tracked")]
        where = f"{len(self.loaded) + len(absent)} tensors" + (f" of {self._prefix}" if part else "")
        if not self.loaded:
            raise UserError(
                f"none of {where} is in {self._source}: its names are {first_of(in_file)}; the model's are "
                f"{first_of(absent)}{'' if part else self._door}"
            )
        self.logger.info(f"{len(self.loaded)} of {where} loaded from {self._source}{words}")
        return incompatible._replace(missing_keys=missing)

    def _rename(self, checkpoint: Mapping[str, Any], ours: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        """Return the weights under the model's names, and the words for what was done to the file's names."""
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
        if incompatible.incorrect_shapes:  # fvcore logs a line for each
            shapes = [f"{k} {tuple(a)} for {tuple(b)}" for k, a, b in incompatible.incorrect_shapes]
            self.logger.warning(f"{len(shapes)} tensors are of another shape: {first_of(shapes)}")
        super()._log_incompatible_keys(incompatible._replace(incorrect_shapes=[]))


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
    """Return the first three names, and how many more there are."""
    names = list(names)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def entries(value: Sequence[str] | str, what: str) -> list[str]:
    """Return a list of prefixes; a text alone is one entry.

    Raises:
        UserError: if an entry is no text, or empty, which is the beginning of every name.
    """
    listed = [value] if isinstance(value, str) else list(value or ())
    for entry in listed:
        if not isinstance(entry, str) or not entry:
            raise UserError(f"{what} holds {entry!r}, expected the beginnings of names, such as 'backbone.fpn'")
    return listed
