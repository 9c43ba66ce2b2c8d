"""The parts of a report for which models are built: denoising strips, similarity by level, classifiers' scores."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from compare_arms import load_arm
from compare_table import Table, number
from detectron2.config import instantiate
from detectron2.utils.env import seed_all_rng
from matplotlib.figure import Figure
from omegaconf import DictConfig
from report_runs import Member
from torch import nn

from diffkd_d2.checkpoint.checkpointer import Checkpointer
from diffkd_d2.checkpoint.files import read_checkpoint
from diffkd_d2.classification.loaders import Collate
from diffkd_d2.engine.loaders import build_loader, check_image_format
from diffkd_d2.engine.pictures import rgb_images
from diffkd_d2.engine.undo import unchanged
from diffkd_d2.meta_arch.distilled_model import DistilledModel
from diffkd_d2.visualization.denoising import Pair, distiller_inputs, strip
from diffkd_d2.visualization.similarity import cka, positions

SEED = 1


def has_points(cfg: DictConfig) -> bool:
    """Whether a config distils anything."""
    return bool(cfg.model.get("points"))


def build(member: Member, reference: DictConfig, trained: bool) -> DistilledModel:
    """Return a run's model at its start or at its end.

    Args:
        member: the run.
        reference: a config with points, which stand in where the run has none.
        trained: False: as its seed made it; True: with the weights of `model_final.pth`.
    """
    cfg = load_arm(member.words)
    own = has_points(cfg)
    cfg = cfg if own else reference.copy()
    seed_all_rng(max(cfg.train.seed, 0))
    model = instantiate(cfg.model)
    if trained:
        path = member.folder / "model_final.pth"
        Checkpointer(model.student).load(str(path), checkpointables=[])
        if own:
            model.points.load_state_dict(read_checkpoint(path)["distillers"])
    return model.train()


def first_batch(cfg: DictConfig, model: DistilledModel) -> Any:
    """Return the first training batch under a fixed seed, the same for all runs."""
    check_image_format(cfg.dataloader.train, model.student)
    seed_all_rng(SEED)
    return next(iter(build_loader(cfg.dataloader.train)))


def feature_parts(members: list[Member]) -> tuple[list[tuple[str, Figure]], Table | None]:
    """Return the strips, a figure for each run that has one, and CKA to the teacher by level at start and end."""
    known = [m for m in members if m.words and (m.folder / "model_final.pth").exists()]
    reference = next((cfg for cfg in (load_arm(m.words) for m in known) if has_points(cfg)), None)
    if reference is None:
        return [], None
    batch = first_batch(reference, build(known[0], reference, trained=False))
    strips, rows = [], []
    levels: list[str] = []
    for member in known:
        cells = []
        for trained in (False, True):
            model = build(member, reference, trained)
            with unchanged(model):
                torch.manual_seed(SEED)
                pairs = distiller_inputs(model, batch)
                cells.append({name: level_cka(pair) for name, pair in pairs.items()})
                figure = None
                if trained and has_points(load_arm(member.words)):
                    figure = strip(pairs, rgb_images(batch, model.student))
            if figure:
                strips.append((member.name, figure))
        levels = levels or list(cells[0])
        rows.append([member.name, *(number(c.get(level), 2) for level in levels for c in cells)])
    headers = ["run", *(f"{level}, {when}" for level in levels for when in ("start", "end"))]
    note = (
        "Linear CKA of the student's and the teacher's feature over one batch of training images; 1 is alike. The "
        "start is the model as its seed made it, before any weights were loaded or inherited."
    )
    return strips, Table("Similarity to the teacher by level", headers, rows, note)


def level_cka(pair: Pair) -> float:
    """Return CKA of what a distiller is given."""
    return cka(positions(pair.student, pair.mask), positions(pair.teacher, pair.mask))


@torch.no_grad()
def class_scores(members: list[Member], images: int = 64) -> tuple[dict[str, Any], dict[str, np.ndarray], list[str]]:
    """Return a collated batch of test images, the probabilities (N, K) of each model, and the names of the classes."""
    cfg = load_arm(members[-1].words)
    dataset = build_loader(cfg.dataloader.test).dataset
    batch = spread_batch(dataset, images)
    models: dict[str, nn.Module] = {}
    if cfg.model.get("teacher"):
        nodes = [cfg.model.teacher] if isinstance(cfg.model.teacher, DictConfig) else cfg.model.teacher
        models |= {f"teacher {i or ''}".strip(): instantiate(node) for i, node in enumerate(nodes)}
    for member in members:
        models[member.name] = student_of(load_arm(member.words), member.folder)
    scores = {name: model.eval()(batch).softmax(dim=1).numpy() for name, model in models.items()}
    return batch, scores, list(dataset.classes)


def spread_batch(dataset: Any, count: int) -> dict[str, Any]:
    """Return a collated batch of images from the whole dataset, because an image folder lists class after class."""
    spread = np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int)
    batch = Collate()([dataset[int(i)] for i in spread])
    return {"image": batch["image"], "label": batch["label"]}


def student_of(cfg: DictConfig, folder: Path) -> nn.Module:
    """Return the trained student of a run."""
    student = instantiate(cfg.model.student)
    Checkpointer(student).load(str(folder / "model_final.pth"), checkpointables=[])
    return student
