"""What `benchmark.py` measures: the steps of models with and without distillation, and the parts of a step."""

import copy
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from detectron2.config import instantiate
from detectron2.engine.defaults import create_ddp_model
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from omegaconf import DictConfig
from torch import Tensor, nn

from diffkd_d2.distillers import DiffKD
from diffkd_d2.engine.compilation import compile_distillers
from diffkd_d2.errors import UserError
from diffkd_d2.meta_arch.auto_points import AutoPoints
from diffkd_d2.meta_arch.capture import record_inputs
from diffkd_d2.meta_arch.distill_point import DistillPoint
from diffkd_d2.meta_arch.distilled_model import DistilledModel
from diffkd_d2.modeling.fold import fold_frozen_norms
from diffkd_d2.recipes import find_recipes

OWN = "distill"
"""Name of the config's own points, beside the names of methods."""
Job = Callable[[], object]


def build(cfg: DictConfig, methods: Iterable[str], device: str) -> tuple[dict[str, DistilledModel], dict[str, str]]:
    """Return the config's model and one with the same student and teacher for each method.

    The teacher has random weights and is folded as in training.

    Returns:
        the models by name, the config's own under `OWN` first; and why a method was left out, by its name.
    """
    if not isinstance(cfg.model.get("teacher"), DictConfig):
        raise UserError("benchmark.py measures one teacher: model.teacher is a list, or empty")
    student, teacher = instantiate(cfg.model.student), instantiate(cfg.model.teacher.model)
    points = instantiate(cfg.model.points)
    chosen: dict[str, list[DistillPoint]] = {OWN: points(student, [teacher]) if callable(points) else list(points)}
    left_out = {}
    for method in methods:
        try:
            chosen[method] = AutoPoints(find_recipes(method))(student, [teacher])
        except UserError as error:
            left_out[method] = str(error)
    teacher = teacher.requires_grad_(False).eval()
    teacher = fold_frozen_norms(teacher, [path for of in chosen.values() for p in of for path in p.teacher_modules])
    # One student per DDP, since several DDPs would all wait for the gradient of a shared parameter.
    several = comm.get_world_size() > 1
    models = {}
    for name, of in chosen.items():
        shared = name == OWN and cfg.model.get("shared_distiller", False)
        models[name] = DistilledModel(copy.deepcopy(student) if several else student, teacher, of, shared)
        models[name].to(device).train()
    return models, left_out


def steps(models: dict[str, DistilledModel], batch: list[dict], compiled: bool) -> dict[str, Job]:
    """Return the jobs `student_step`, `teacher_forward`, `floor` and `<name>_step`; each clears the gradients.

    Args:
        models: as `build` returns them.
        batch: the inputs of each step.
        compiled: compile the distillers of the config's own step.
    """
    own = models[OWN]
    alone = _distributed(copy.deepcopy(own.student) if comm.get_world_size() > 1 else own.student)
    if compiled:
        points = copy.deepcopy(own._points())
        own = DistilledModel(own.student, own.teachers[0], points).train()
        compile_distillers(points)

    def step(module: nn.Module) -> None:
        sum(module(batch).values()).backward()
        module.zero_grad()

    def floor() -> None:
        own._run_teacher(0, batch)
        step(alone)

    jobs: dict[str, Job] = {
        "student_step": lambda: step(alone),
        "teacher_forward": lambda: own._run_teacher(0, batch),
        "floor": floor,
    }
    for name, model in {**models, OWN: own}.items():
        jobs[f"{name}_step"] = partial(step, _distributed(model))
    return jobs


def parts(models: dict[str, DistilledModel], batch: list[dict]) -> dict[str, Job]:
    """Return the jobs `<name>_points`: all points of a model, forward and backward, without student and teacher."""
    jobs: dict[str, Job] = {}
    for name, model in models.items():
        paths = [path for path, _ in model.points.named_children()]
        with EventStorage(), record_inputs(model.points, paths) as calls:
            model(batch)
        jobs[f"{name}_points"] = partial(_points, model, _detached(calls))
    return jobs


def diffkd_parts(model: DistilledModel, batch: list[dict]) -> dict[str, Job]:
    """Return the parts of DiffKD, each over all points that use it; an empty dict if none does."""
    found = {path: m for path, m in model.points.named_modules() if isinstance(m, DiffKD)}
    with EventStorage(), record_inputs(model.points, found) as calls:
        model(batch)
    seen = [(m, s.detach(), t.detach()) for path, m in found.items() for s, t, *_ in calls[path]]
    if not seen:
        return {}

    def each(part: Callable[..., object]) -> Job:
        return lambda: [part(*row) for row in seen]

    with torch.no_grad():
        aligned = [d.align(s) for d, s, _ in seen]
        latents = [d.encode(t)[0] for d, _, t in seen]
    first_step = torch.zeros(1, dtype=torch.long, device=seen[0][1].device)
    return {
        "autoencoder_and_standardize": each(lambda d, s, t: d.encode(t)),
        "noise_matcher": lambda: [d.noise_matcher(x, x) for (d, _, _), x in zip(seen, aligned, strict=True)],
        "one_sampling_step": lambda: [d.denoiser(x, first_step) for (d, _, _), x in zip(seen, aligned, strict=True)],
        "align_match_sample": each(lambda d, s, t: d.refine(s)),
        "diffusion_loss": lambda: [d.diffusion_loss(z) for (d, _, _), z in zip(seen, latents, strict=True)],
    }


def _points(model: DistilledModel, inputs: dict[str, list[tuple[Any, ...]]]) -> None:
    outputs = [model.points.get_submodule(path)(*args) for path, calls in inputs.items() for args in calls]
    sum(v for of_point in outputs for k, v in of_point.items() if k.startswith("loss_")).backward()
    model.zero_grad()


def _detached(x: Any) -> Any:
    """Return nested tensors without their graph; those that had one require a gradient again."""
    if isinstance(x, Tensor):
        return x.detach().requires_grad_(x.requires_grad)
    if isinstance(x, dict):
        return {key: _detached(value) for key, value in x.items()}
    return type(x)(map(_detached, x)) if type(x) in (list, tuple) else x


def _distributed(model: nn.Module) -> nn.Module:
    ids = {} if next(model.parameters()).is_cuda else {"device_ids": None}
    wrapped: nn.Module = create_ddp_model(model, broadcast_buffers=False, **ids)
    return wrapped
