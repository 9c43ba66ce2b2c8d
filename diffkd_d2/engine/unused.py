"""Say which settings of a YAML config and which parts of a project are not used."""

from .. import _detectron2  # noqa: F401

# isort: split

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from detectron2.config import CfgNode, get_cfg
from detectron2.engine import DefaultTrainer

from ..modeling.project_file import is_own
from ..modeling.yaml_model import find_yaml

_LOADERS = ("build_train_loader", "build_test_loader")
# The methods of a project's Trainer that train_net.py calls; the log names others that the project overrides.
CALLED = (*_LOADERS, "build_model", "build_evaluator", "build_optimizer", "build_lr_scheduler", "auto_scale_workers")
# The methods of a project's Trainer that may read the keys which the project adds to a section.
READERS = {
    "INPUT": _LOADERS,
    "DATASETS": _LOADERS,
    "DATALOADER": _LOADERS,
    "SOLVER": ("build_optimizer", "build_lr_scheduler"),
    "TEST": ("build_evaluator",),
}


def unused(
    cfg: CfgNode, trainer: type[DefaultTrainer], config: str, opts: Sequence[Any], project: str | None
) -> list[str]:
    """Return notes for the log on settings that are not used and parts that do not resume exactly.

    Args:
        cfg: what `config`, `opts` and `project` give.
        trainer: the project's Trainer, or DefaultTrainer.
        config: path of a YAML file, or a name in Detectron2's zoo.
        opts: alternating keys and values that override it.
        project: path of the project's Python file.
    """
    notes = []
    if cfg.TEST.AUG.ENABLED:
        notes.append("TEST.AUG.ENABLED is not honoured: no test-time augmentation")
    if cfg.TEST.EXPECTED_RESULTS:
        notes.append("TEST.EXPECTED_RESULTS is not honoured: compare results.json yourself")
    if cfg.GLOBAL.HACK != 1.0:
        notes.append("GLOBAL.HACK is not honoured")
    if cfg.get("FLOAT32_PRECISION"):  # of Detectron2's main branch
        notes.append("FLOAT32_PRECISION is not honoured: PyTorch's default precision")
    if cfg.DATALOADER.SAMPLER_TRAIN == "RandomSubsetTrainingSampler" and cfg.SEED < 0:
        notes.append("DATALOADER.RANDOM_SUBSET_RATIO takes another subset on --resume: set SEED")
    unread = sorted(_unread(trainer, config, opts))
    if unread:
        notes.append(f"not honoured, unless the model reads them: {', '.join(unread)}")
    if project and trainer is DefaultTrainer:
        notes.append(f"{project} has no Trainer: loaders, optimizer, schedule and evaluators are Detectron2's")
        return notes
    public = ("__init__", *(name for name in dir(DefaultTrainer) if not name.startswith("_")))
    names = [name for name in (*public, "test_with_TTA") if name not in CALLED and is_own(trainer, name)]
    if names:
        notes.append(f"not called: {', '.join(f'{trainer.__name__}.{name}' for name in names)}")
    if is_own(trainer, "build_train_loader"):
        notes.append("the project builds its own training loader: it begins anew on --resume, as in Detectron2")
    return notes


def _unread(trainer: type[DefaultTrainer], config: str, opts: Sequence[Any]) -> set[str]:
    """Return the keys that are set, that Detectron2 does not know, and that no method which is called may read."""
    tree = CfgNode.load_yaml_with_base(find_yaml(config)[0], allow_unsafe=True)  # `read_cfg` has refused other files
    known = set(flat_keys(get_cfg()))
    added = {*flat_keys(tree), *opts[::2]} - known
    return {key for key in added if not _may_be_read(key.split(".")[0], trainer)}


def _may_be_read(section: str, trainer: type[DefaultTrainer]) -> bool:
    return section == "MODEL" or any(is_own(trainer, method) for method in READERS.get(section, ()))


def flat_keys(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys of all values."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from flat_keys(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
