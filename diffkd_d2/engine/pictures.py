"""Pictures of a run for TensorBoard: the denoising strip, and predictions of teacher and student."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from detectron2.engine import HookBase
from detectron2.evaluation import inference_context
from detectron2.utils import comm
from torch import Tensor, nn

from ..meta_arch.distilled_model import DistilledModel, as_teacher_reads
from ..visualization.boxes import Box, draw_boxes
from ..visualization.denoising import distiller_inputs, strip
from ..visualization.labels import draw_label_map
from .undo import unchanged

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # it takes a second, so only runs that draw import it

IMAGES = 2
THRESHOLD = 0.3  # scores of the boxes that are drawn
IGNORED = 255  # Detectron2's label for no class


class PictureHook(HookBase):
    """Put pictures of the first batch into the event storage, for Detectron2's TensorBoard writer.

    The hook does not change the training. All processes run the models, the main process draws.

    Args:
        model: the model in training, not its DDP wrapper.
        period: iterations between two pictures; 0: none.
        names: class names; a class without a name is shown by its number.
    """

    def __init__(self, model: DistilledModel, period: int, names: Sequence[str] = ()):
        self.model, self.period, self.names = model, period, list(names)
        self._batch: Any = None
        self._handle: Any = None

    def before_train(self) -> None:
        """Register a hook that keeps the first batch."""
        if self.period:
            self._handle = self.model.register_forward_pre_hook(self._keep)

    def _keep(self, model: nn.Module, args: tuple[Any, ...]) -> None:
        self._batch = args[0]
        self._handle.remove()

    def after_step(self) -> None:
        """Draw the pictures if it is time."""
        if not self.period or (self.trainer.iter + 1) % self.period or self._batch is None:
            return
        storage = self.trainer.storage
        with unchanged(self.model):
            if self.model.points:
                figure = strip(distiller_inputs(self.model, self._batch), rgb_images(self._batch, self.model.student))
                if figure is not None and comm.is_main_process():
                    storage.put_image("denoising", _pixels(figure))
            shown = predictions(self.model, self._batch, self.names)
            if shown is not None and comm.is_main_process():
                storage.put_image("predictions", np.ascontiguousarray(shown[:, :, ::-1].transpose(2, 0, 1)))


def rgb_images(batch: Any, model: nn.Module, count: int = IMAGES) -> list[np.ndarray]:
    """Return the first images of a batch as RGB (H, W, 3) uint8, for either channel order of the model."""
    images = batch["image"] if isinstance(batch, dict) else [x["image"] for x in batch]
    arrays = [image.cpu().numpy().transpose(1, 2, 0).clip(0, 255).astype(np.uint8) for image in images[:count]]
    return [a if getattr(model, "input_format", "BGR") == "RGB" else a[:, :, ::-1] for a in arrays]


def predictions(model: DistilledModel, batch: Any, names: Sequence[str]) -> np.ndarray | None:
    """Return a BGR picture of ground truth, teacher and student, or None if they predict no boxes or label maps."""
    if isinstance(batch, dict):
        return None
    batch = batch[:IMAGES]
    inputs = [{"image": x["image"]} for x in batch]
    models = {f"teacher {i or ''}".strip(): teacher for i, teacher in enumerate(model.teachers)}
    models["student"] = model.student
    contents = {"ground truth": batch}
    with torch.no_grad(), inference_context(model.student):
        contents |= {
            name: m(inputs if m is model.student else as_teacher_reads(inputs, model.student, m))
            for name, m in models.items()
        }
    draw = next((f for k, f in DRAWN.items() if all(k in content[0] for content in contents.values())), None)
    if draw is None:
        return None
    rows = []
    for i, image in enumerate(rgb_images(batch, model.student)):
        bgr = np.ascontiguousarray(image[:, :, ::-1])
        rows.append(np.hstack([draw(bgr, content[i], names, title) for title, content in contents.items()]))
    width = max(row.shape[1] for row in rows)
    return np.vstack([np.pad(r, ((0, 0), (0, width - r.shape[1]), (0, 0)), constant_values=255) for r in rows])


def _draw_instances(image: np.ndarray, content: dict[str, Any], names: Sequence[str], title: str) -> np.ndarray:
    boxes = _boxes(content["instances"])
    return draw_boxes(image, boxes, _named(names, max((box.label + 1 for box in boxes), default=0)), title)


def _draw_sem_seg(image: np.ndarray, content: dict[str, Any], names: Sequence[str], title: str) -> np.ndarray:
    labels = content["sem_seg"].cpu()
    labels = (labels.argmax(dim=0) if labels.dim() == 3 else labels).numpy()
    count = int(labels[labels != IGNORED].max(initial=-1)) + 1
    return draw_label_map(image, labels, _named(names, count), title)


DRAWN = {"instances": _draw_instances, "sem_seg": _draw_sem_seg}


def _named(names: Sequence[str], count: int) -> list[str]:
    """Return at least `count` names, using numbers for classes without a name."""
    return [*names, *map(str, range(len(names), count))]


def _boxes(instances: Any) -> list[Box]:
    """Return ground-truth boxes, or predicted boxes with a score above the threshold."""
    if instances.has("gt_boxes"):
        corners, labels = instances.gt_boxes.tensor, instances.gt_classes
        scores: list[float | None] = [None] * len(labels)
    else:
        instances = instances[instances.scores > THRESHOLD]
        corners, labels = instances.pred_boxes.tensor, instances.pred_classes
        scores = instances.scores.tolist()
    entries = zip(corners.tolist(), labels.tolist(), scores, strict=True)
    return [Box(tuple(c), label, score) for c, label, score in entries]


def _pixels(figure: "Figure") -> Tensor:
    """Return a figure as RGB (3, H, W) uint8."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return torch.from_numpy(np.asarray(canvas.buffer_rgba())[:, :, :3].transpose(2, 0, 1).copy())
