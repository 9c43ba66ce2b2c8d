"""Turn a YAML config, with or without a project's Python file, into a config of `train_net.py`."""

from .. import _detectron2  # noqa: F401

# isort: split

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.config import LazyCall as L
from detectron2.data import (
    DatasetMapper,
    build_detection_test_loader,
    build_detection_train_loader,
    get_detection_dataset_dicts,
)
from detectron2.data.build import _train_loader_from_config
from detectron2.engine import DefaultTrainer
from detectron2.evaluation import DatasetEvaluator
from detectron2.solver import LRMultiplier
from detectron2.utils import comm
from fvcore.common.param_scheduler import ParamScheduler
from omegaconf import DictConfig, OmegaConf
from torch import nn

from ..datasets.shapes import register_shapes
from ..evaluation.by_type import evaluator_of
from ..evaluation.third_party import provide_what_is_installed
from ..meta_arch.distilled_model import DistilledModel
from ..modeling.project_file import is_own, project_trainer
from ..modeling.yaml_model import read_cfg, yaml_model
from .defaults import distill_defaults, train_defaults
from .unused import unused


def from_project(
    config: str, project: str | None = None, opts: tuple | list = (), extend: str | Sequence[str] = ()
) -> DictConfig:
    """Return model, dataloader, evaluator, optimizer, lr_multiplier, train and distill of a YAML config.

    Detectron2's own parts (dataset dicts, mapper, sampler) become nodes that resume exactly. Parts that a project's
    Trainer builds itself resume as in Detectron2. `notes` lists settings that are not used.

    Args:
        config: path of a YAML file, or a name in Detectron2's zoo.
        project: the project's Python file, which is executed; see `project_file.py`.
        opts: alternating keys and values that override the YAML.
        extend: dotted names of functions that add config keys, if there is no project file; a string is one name.

    Raises:
        UserError: if a file is missing or not plain data, or a key or value does not fit.
    """
    register_shapes()
    names = [extend] if isinstance(extend, str) else list(extend)
    source = dict(config=config, opts=list(opts), extend=names, project=project)
    cfg = training_cfg(**source)
    trainer = project_trainer(project)
    return OmegaConf.create(
        dict(
            model=L(DistilledModel)(student=L(yaml_model)(**source), points=[]),
            dataloader=_dataloader(cfg, trainer, source),
            optimizer=L(project_optimizer)(params=dict(distiller_lr_factor=1.0), lr=cfg.SOLVER.BASE_LR, **source),
            lr_multiplier=L(project_schedule)(**source),
            train=_train(cfg),
            distill=distill_defaults(),
            notes=unused(cfg, trainer, config, opts, project),
        ),
        flags={"allow_objects": True},
    )


def training_cfg(**source: Any) -> CfgNode:
    """Return the CfgNode of a source, scaled to the number of processes if SOLVER.REFERENCE_WORLD_SIZE is set."""
    return project_trainer(source["project"]).auto_scale_workers(read_cfg(**source), comm.get_world_size())


def yaml_mapper(is_train: bool, image_format: str, instance_mask_format: str, **source: Any) -> DatasetMapper:
    """Return Detectron2's mapper for a YAML config, with the given channel order and mask format."""
    options = DatasetMapper.from_config(read_cfg(**source), is_train)
    options.update(image_format=image_format, instance_mask_format=instance_mask_format)
    return DatasetMapper(**options)


def yaml_sampler(dataset: list[dict], **source: Any) -> torch.utils.data.Sampler:
    """Return the sampler that DATALOADER.SAMPLER_TRAIN names.

    Raises:
        ValueError: if Detectron2 does not know it.
    """
    options = _train_loader_from_config(read_cfg(**source), mapper=dict, dataset=dataset)  # the mapper is not used
    return options["sampler"]


def project_train_loader(total_batch_size: int, num_workers: int, **source: Any) -> Any:
    """Call the project's `build_train_loader`."""
    cfg = training_cfg(**source)
    cfg.SOLVER.IMS_PER_BATCH, cfg.DATALOADER.NUM_WORKERS = total_batch_size, num_workers
    return project_trainer(source["project"]).build_train_loader(cfg)


def project_test_loader(dataset_name: str, num_workers: int, **source: Any) -> Any:
    """Call the project's `build_test_loader` for one test set."""
    cfg = read_cfg(**source)
    cfg.DATALOADER.NUM_WORKERS = num_workers
    return project_trainer(source["project"]).build_test_loader(cfg, dataset_name)


def project_evaluator(dataset_name: str, output_dir: str, **source: Any) -> DatasetEvaluator:
    """Call the project's `build_evaluator` for one test set.

    COCO evaluation uses pycocotools, since Detectron2's faster C++ implementation is not always installed.
    """
    provide_what_is_installed()
    cfg = read_cfg(**source)
    cfg.OUTPUT_DIR = output_dir
    evaluator = project_trainer(source["project"]).build_evaluator(cfg, dataset_name)
    for part in getattr(evaluator, "_evaluators", [evaluator]):
        if hasattr(part, "_use_fast_impl"):
            part._use_fast_impl = False
    return evaluator


def project_optimizer(params: dict[str, nn.Module], lr: float, **source: Any) -> torch.optim.Optimizer:
    """Return the optimizer of Detectron2's or the project's `build_optimizer` for `params["model"]`."""
    cfg = training_cfg(**source)
    cfg.SOLVER.BASE_LR = lr
    if _clips_all(cfg):  # train.clip_norm does it, for student and distillers separately
        cfg.SOLVER.CLIP_GRADIENTS.ENABLED = False
    return project_trainer(source["project"]).build_optimizer(cfg, params["model"])


def project_schedule(**source: Any) -> ParamScheduler:
    """Return the factor on the learning rate as a function of the fraction done, in [0, 1)."""
    cfg = training_cfg(**source)
    base = cfg.SOLVER.BASE_LR or 1.0  # a schedule may end at an absolute learning rate
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=base)
    scheduler = project_trainer(source["project"]).build_lr_scheduler(cfg, optimizer)
    if isinstance(scheduler, LRMultiplier):
        return scheduler._multiplier
    factors = []
    for _ in range(cfg.SOLVER.MAX_ITER):
        factors.append(optimizer.param_groups[0]["lr"] / base)
        optimizer.step()
        scheduler.step()
    return Table(factors)


class Table(ParamScheduler):
    """A schedule given by its value at each iteration.

    Args:
        values: values at iterations 0, 1, ...
    """

    def __init__(self, values: list[float]):
        self.values = values

    def __call__(self, where: float) -> float:
        """Return the value at a fraction of the run, in [0, 1)."""
        return self.values[min(round(where * len(self.values)), len(self.values) - 1)]


def _dataloader(cfg: CfgNode, trainer: type[DefaultTrainer], source: dict[str, Any]) -> DictConfig:
    workers, names = cfg.DATALOADER.NUM_WORKERS, list(cfg.DATASETS.TEST)
    if is_own(trainer, "build_train_loader"):
        train = L(project_train_loader)(total_batch_size=cfg.SOLVER.IMS_PER_BATCH, num_workers=workers, **source)
    else:
        train = _detectron2s_train_loader(cfg, source)
    tests, evaluators = [], []
    for i, name in enumerate(names):
        if is_own(trainer, "build_test_loader"):
            tests.append(L(project_test_loader)(dataset_name=name, num_workers=workers, **source))
        else:
            tests.append(_detectron2s_test_loader(cfg, i, source))
        if is_own(trainer, "build_evaluator"):
            evaluators.append(L(project_evaluator)(dataset_name=name, output_dir="${train.output_dir}", **source))
        else:
            folder, sigmas = f"${{train.output_dir}}/inference/{name}", list(cfg.TEST.KEYPOINT_OKS_SIGMAS)
            evaluators.append(L(evaluator_of)(dataset_name=name, output_dir=folder, keypoint_sigmas=sigmas))
    single = len(names) == 1
    return OmegaConf.create(
        dict(train=train, test=tests[0] if single else tests, evaluator=evaluators[0] if single else evaluators),
        flags={"allow_objects": True},
    )


def _detectron2s_train_loader(cfg: CfgNode, source: dict[str, Any]) -> DictConfig:
    """Return a node of Detectron2's own loader, which `data/loaders.py` makes resumable."""
    dataset = L(get_detection_dataset_dicts)(
        names=list(cfg.DATASETS.TRAIN),
        filter_empty=cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS,
        min_keypoints=cfg.MODEL.ROI_KEYPOINT_HEAD.MIN_KEYPOINTS_PER_IMAGE if cfg.MODEL.KEYPOINT_ON else 0,
        proposal_files=list(cfg.DATASETS.PROPOSAL_FILES_TRAIN) if cfg.MODEL.LOAD_PROPOSALS else None,
    )
    node = L(build_detection_train_loader)(
        dataset=dataset,
        mapper=_mapper(cfg, True, source),
        total_batch_size=cfg.SOLVER.IMS_PER_BATCH,
        aspect_ratio_grouping=cfg.DATALOADER.ASPECT_RATIO_GROUPING,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
    )
    if cfg.DATALOADER.SAMPLER_TRAIN != "TrainingSampler":
        node.sampler = L(yaml_sampler)(dataset="${..dataset}", **source)
    return node


def _detectron2s_test_loader(cfg: CfgNode, index: int, source: dict[str, Any]) -> DictConfig:
    dataset = L(get_detection_dataset_dicts)(
        names=cfg.DATASETS.TEST[index],
        filter_empty=False,
        proposal_files=[cfg.DATASETS.PROPOSAL_FILES_TEST[index]] if cfg.MODEL.LOAD_PROPOSALS else None,
    )
    return L(build_detection_test_loader)(
        dataset=dataset,
        mapper=_mapper(cfg, False, source),
        num_workers=cfg.DATALOADER.NUM_WORKERS,
    )


def _mapper(cfg: CfgNode, is_train: bool, source: dict[str, Any]) -> DictConfig:
    formats = dict(image_format=cfg.INPUT.FORMAT, instance_mask_format=cfg.INPUT.MASK_FORMAT)
    return L(yaml_mapper)(is_train=is_train, **formats, **source)


def _train(cfg: CfgNode) -> DictConfig:
    train = train_defaults()
    train.output_dir, train.init_checkpoint, train.seed = cfg.OUTPUT_DIR, cfg.MODEL.WEIGHTS, cfg.SEED
    train.max_iter, train.eval_period = cfg.SOLVER.MAX_ITER, cfg.TEST.EVAL_PERIOD
    train.checkpointer.period = cfg.SOLVER.CHECKPOINT_PERIOD
    train.amp.dtype = "float16" if cfg.SOLVER.AMP.ENABLED else None
    train.clip_norm = cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE if _clips_all(cfg) else None
    train.precise_bn = cfg.TEST.PRECISE_BN.NUM_ITER if cfg.TEST.PRECISE_BN.ENABLED else 0
    train.cudnn_benchmark = cfg.CUDNN_BENCHMARK
    train.device = cfg.MODEL.DEVICE
    return train


def _clips_all(cfg: CfgNode) -> bool:
    """Return whether a project clips the full model's gradient (Mask2Former); Detectron2 clips each gradient."""
    clip = cfg.SOLVER.CLIP_GRADIENTS
    return clip.ENABLED and clip.CLIP_TYPE == "full_model"
