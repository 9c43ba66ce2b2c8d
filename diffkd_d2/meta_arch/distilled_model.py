"""The meta-architecture: a student in training, a frozen teacher, and the points that compare their outputs."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError
from .capture import capture, find_module, record_inputs
from .distill_point import DistillPoint
from .distiller_inputs import labels_of_rows, needs_of
from .roi_branch import RoiBranch


class DistilledModel(nn.Module):
    """Train a student on its own losses plus those of the points; evaluate the student alone.

    The teacher moves with `.to()` and stays in eval mode, but it is not a registered sub-module: it is in no
    `state_dict`, optimizer or DDP bucket. It is called with the same inputs as the student, pre-processes them
    itself, and runs only as far as the last captured module. Inputs come in the student's channel order. If the
    `input_format` of one model is "RGB" and that of the other "BGR", the teacher gets its own order.

    Args:
        student: any model that follows Detectron2's contract: it takes a list of dicts and, in training, returns a
            dict of losses.
        teacher: frozen model with the same contract, or a list of them. None is allowed if there are no points.
        points: where to distil. Without points, training equals that of the bare student. A callable, such as
            `AutoPoints`, is called with the student and the list of teachers, and returns the points.
        shared_distiller: use the first point's distiller for all points, with one set of parameters.

    Raises:
        UserError: if a module path does not exist, a name occurs twice, there are points but no teacher, a distiller
            needs what its point does not provide, or the student's images cannot be converted to the teacher's
            `input_format`.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module | Sequence[nn.Module] | None = None,
        points: Iterable[DistillPoint] | Callable[..., Iterable[DistillPoint]] = (),
        shared_distiller: bool = False,
    ):
        super().__init__()
        self.student = student
        if isinstance(points, DistillPoint):
            raise UserError(f"points is one point, '{points.name}', expected a list of points")
        teachers = [] if teacher is None else [teacher] if isinstance(teacher, nn.Module) else list(teacher)
        # A plain list, because nn.Module would register the teachers as sub-modules.
        self.teachers = [t.requires_grad_(False).eval() for t in teachers]
        self.points = nn.ModuleList(points if isinstance(points, Iterable) else points(student, self.teachers))
        self.distill_scale = 1.0
        self._stop_early = True
        # For the student and each teacher: the modules whose output is changed in place after they return it.
        self._clones: list[set[str]] = [set() for _ in (student, *self.teachers)]
        self.metrics: dict[str, Tensor] = {}
        # Name of the point of each distillation loss of the last forward pass; the student's own losses are left out.
        self.loss_to_point: dict[str, str] = {}
        if shared_distiller:
            for point in self._points():
                point.distiller = self._points()[0].distiller
        self._check()

    def forward(self, batched_inputs: list[dict[str, Any]]) -> Any:
        """Return the dict of losses in training, the student's outputs in evaluation.

        A point adds `loss_<what>_<point>`. `distill_scale` multiplies `loss_kd` only, so that the distiller's own
        losses keep their weight while a warm-up lowers `loss_kd`. The metrics are stored in `metrics`.
        """
        if not self.training or not self.points:
            return self.student(batched_inputs)
        points = self._points()
        poolers = {p.roi.pooler for p in points if p.roi}
        explore = not self._stop_early
        with capture(self.student, {p.student for p in points}, False, self._clones[0], explore) as features:
            with record_inputs(self.student, poolers) as calls:
                losses = dict(self.student(batched_inputs))
        teacher_outputs = [self._run_teacher(i, batched_inputs) for i in range(len(self.teachers))]
        metrics: dict[str, Tensor] = {}
        self.loss_to_point = {}
        for point in points:
            outputs = teacher_outputs[point.teacher_index]
            known, labels = outputs[point.teacher], None
            scores = None if point.scores is None else outputs[point.scores[0]]
            if point.roi:
                known, labels = self._run_roi(point, point.roi, known, calls[point.roi.pooler], batched_inputs)
            for key, value in point(features[point.student], known, batched_inputs, labels, scores).items():
                if key == "loss_kd":
                    value = self.distill_scale * value
                (losses if key.startswith("loss_") else metrics)[f"{key}_{point.name}"] = value
                if key.startswith("loss_"):
                    self.loss_to_point[f"{key}_{point.name}"] = point.name
        self.metrics = metrics
        return losses

    @torch.no_grad()
    def _run_teacher(self, index: int, batched_inputs: Any) -> dict[str, Any]:
        wanted = self.captured_modules(index)
        if not wanted:
            return {}
        batched_inputs = as_teacher_reads(batched_inputs, self.student, self.teachers[index])
        early = self._stop_early
        with capture(self.teachers[index], wanted, early, self._clones[index + 1], not early) as outputs:
            try:
                self.teachers[index](batched_inputs)
            except Exception:
                if outputs.keys() != wanted:  # a failure after the last captured module does no harm
                    raise
        return outputs

    @torch.no_grad()
    def _run_roi(
        self, point: DistillPoint, roi: RoiBranch, features: Any, poolings: list[tuple[Any, ...]], batched_inputs: Any
    ) -> tuple[Any, Tensor | None]:
        """Return the teacher's head output for the student's boxes, and their classes if the distiller needs them."""
        stage = roi.stage
        if stage >= len(poolings):
            raise UserError(f"point '{point.name}': stage {stage} of {len(poolings)} in the student")
        boxes = poolings[stage][1]
        output = roi(self.teachers[point.teacher_index], features, boxes)
        if "labels" not in needs_of(point.distiller):
            return output, None
        heads = find_module(self.student, roi.pooler.rpartition(".")[0])
        return output, labels_of_rows(heads, stage, boxes, batched_inputs)

    def captured_modules(self, index: int) -> set[str]:
        """Return the paths of the modules of teacher `index` whose output a point reads."""
        return {path for p in self._points() if p.teacher_index == index for path in p.teacher_modules}

    @contextmanager
    def run_teachers_to_the_end(self) -> Iterator[None]:
        """Run the teachers beyond the last captured module inside the block, to the end of their forward if possible.

        This finds captured modules that run several times, and outputs that are changed in place; copies of these
        outputs are captured from then on.
        """
        self._stop_early = False
        try:
            yield
        finally:
            self._stop_early = True

    def _points(self) -> list[DistillPoint]:
        return [point for point in self.points if isinstance(point, DistillPoint)]

    def _check(self) -> None:
        for teacher in self.teachers:
            _orders_differ(self.student, teacher)
        names = [p.name for p in self._points()]
        if len(set(names)) < len(names):
            raise UserError(f"two distillation points have one name: {names}")
        if names and not self.teachers:
            raise UserError("there are distillation points but no teacher")
        for point in self._points():
            if not 0 <= point.teacher_index < len(self.teachers):
                raise UserError(f"point '{point.name}': no teacher {point.teacher_index}, of {len(self.teachers)}")
            point.check_needs()
            student = find_module(self.student, point.student)
            teacher = find_module(self.teachers[point.teacher_index], point.teacher)
            if point.scores is not None:
                find_module(self.teachers[point.teacher_index], point.scores[0])
            if point.roi:
                find_module(self.student, point.roi.pooler)
                continue
            for i, (key, teacher_key) in enumerate(point.keys):
                strides = [_declared_stride(student, key), _declared_stride(teacher, teacher_key)]
                if point.strides[i] is None and None not in strides:
                    if strides[0] != strides[1]:
                        raise UserError(
                            f"point '{point.name}': stride {strides[0]} in the student, {strides[1]} in the teacher"
                        )
                    point.strides[i] = strides[0]

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> "DistilledModel":
        for teacher in self.teachers:
            teacher._apply(fn, *args, **kwargs)  # type: ignore[no-untyped-call]
        super()._apply(fn, *args, **kwargs)  # type: ignore[no-untyped-call]
        for model in (self.student, *self.teachers):
            if isinstance(vars(model).get("device"), torch.device | str):  # some models remember where they were built
                vars(model)["device"] = next(model.parameters()).device
        return self


def as_teacher_reads(batched_inputs: Any, student: nn.Module, teacher: nn.Module) -> Any:
    """Return the student's inputs in the teacher's channel order."""
    if not _orders_differ(student, teacher):
        return batched_inputs
    return [{**x, "image": x["image"].flip(0)} for x in batched_inputs]


def _orders_differ(student: nn.Module, teacher: nn.Module) -> bool:
    """Return whether one takes RGB and the other BGR; a model without `input_format` takes either."""
    formats = [getattr(model, "input_format", None) for model in (student, teacher)]
    if None in formats or formats[0] == formats[1]:
        return False
    if set(formats) != {"BGR", "RGB"}:
        raise UserError(f"the student wants {formats[0]} images, the teacher {formats[1]}")
    return True


def _declared_stride(module: nn.Module, key: tuple[str | int, ...]) -> int | None:
    """Return the stride of one output of a Detectron2 backbone; None if the module does not declare it."""
    shapes = getattr(module, "output_shape", None)
    shape = shapes().get(key[0]) if callable(shapes) and len(key) == 1 else None
    return getattr(shape, "stride", None)
