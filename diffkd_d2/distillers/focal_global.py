"""FGD: Focal and Global Knowledge Distillation for Detectors (arXiv 2111.11837)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import align_channels
from .losses import ones_or, visible
from .map_distiller import MapDistiller
from .ranges import require_at_least, require_positive


class FocalGlobal(MapDistiller):
    """Compare maps inside and outside of boxes, weighted by the teacher's attention, and their global context.

    The four terms are summed over channels and positions and averaged over images. The default weights are those of
    the authors' code. Published: RetinaNet, GFL and SOLO the defaults with `attention_weight=5e-4`; FCOS 1.6e-3, 8e-4,
    8e-4, 8e-6 with `temperature=0.8`; Faster, Mask and Cascade R-CNN 5e-5, 2.5e-5, 5e-5, 5e-7.

    Args:
        student_channels: Cs.
        teacher_channels: Ct.
        temperature: temperature of both attentions' softmax (T), above 0.
        foreground_weight: factor on the squared distance inside of boxes (alpha).
        background_weight: factor on the squared distance outside of boxes (beta).
        attention_weight: factor on the L1 distance of the attentions (gamma).
        relation_weight: factor on the squared distance of the maps with their global context added (lambda).

    Raises:
        ValueError: if an option is out of range.
    """

    needs = ("boxes",)

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        temperature: float = 0.5,
        foreground_weight: float = 1e-3,
        background_weight: float = 5e-4,
        attention_weight: float = 1e-3,
        relation_weight: float = 5e-6,
    ):
        super().__init__(student_channels, teacher_channels)
        require_positive(temperature=temperature)
        require_at_least(
            0,
            foreground_weight=foreground_weight,
            background_weight=background_weight,
            attention_weight=attention_weight,
            relation_weight=relation_weight,
        )
        self.temperature = temperature
        self.weights = (foreground_weight, background_weight, attention_weight, relation_weight)
        self.align = align_channels(student_channels, teacher_channels)
        self.student_context, self.teacher_context = GlobalContext(teacher_channels), GlobalContext(teacher_channels)

    def forward(
        self, student: Tensor, teacher: Tensor, mask: Tensor | None = None, *, boxes: list[Tensor]
    ) -> dict[str, Tensor]:
        """Return `loss_kd` and its four parts, weighted, as metrics.

        Args:
            student, teacher, mask: as in `MapDistiller`.
            boxes: ground truth of each image, (n_i, 4), XYXY in positions of the map.
        """
        student, teacher = self.visible_pair(student, teacher, mask)
        student = visible(self.align(student), mask)
        with torch.autocast(teacher.device.type, enabled=False):
            weight = ones_or(mask, teacher)
            spatial, channel = zip(*(self._attention(x, weight) for x in (student, teacher)), strict=True)
            foreground, background = box_weights(boxes, weight)
            # (N, 1, H, W): the squared distance, weighted by the teacher's attention to position and channel.
            distance = ((student - teacher).square() * channel[1]).sum(dim=1, keepdim=True) * spatial[1]
            attention = sum((a - b).abs().sum() for a, b in (spatial, channel))
            contexts = self.student_context(student, weight) - self.teacher_context(teacher, weight)
            relation = (contexts.square() * weight).sum()
            terms = ((distance * foreground).sum(), (distance * background).sum(), attention, relation)
        parts = [w * term / len(teacher) for w, term in zip(self.weights, terms, strict=True)]
        names = ("foreground", "background", "attention", "relation")
        return {"loss_kd": sum(parts), **{n: part.detach() for n, part in zip(names, parts, strict=True)}}

    def _attention(self, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return the attention to positions (N, 1, H, W) and to channels (N, C, 1, 1), each with mean 1."""
        strength, count = x.abs(), weight.sum(dim=(2, 3), keepdim=True)
        positions = softmax_over_positions(strength.mean(dim=1, keepdim=True) / self.temperature, weight)
        channels = strength.sum(dim=(2, 3), keepdim=True) / count.clamp(min=1) / self.temperature
        return count * positions, x.shape[1] * channels.softmax(dim=1)


class GlobalContext(nn.Module):
    """Add a transform of the map's attention-weighted mean to each position (GCNet, arXiv 1904.11492).

    Args:
        channels: C.
    """

    def __init__(self, channels: int):
        super().__init__()
        inner = max(channels // 2, 1)
        self.key = nn.Conv2d(channels, 1, 1)
        self.transform = nn.Sequential(
            nn.Conv2d(channels, inner, 1), nn.LayerNorm([inner, 1, 1]), nn.ReLU(), nn.Conv2d(inner, channels, 1)
        )
        for parameter in [*self.key.parameters(), *self.transform[-1].parameters()]:
            nn.init.zeros_(parameter)
        nn.init.kaiming_normal_(self.key.weight, nonlinearity="relu")

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return x (N, C, H, W) with its context added; `weight` (N, 1, H, W) is 1 where a position counts."""
        attention = softmax_over_positions(self.key(x), weight)
        mean = torch.einsum("nchw,nhw->nc", x, attention[:, 0])
        context: Tensor = self.transform(mean[:, :, None, None])
        return x + context


def softmax_over_positions(x: Tensor, weight: Tensor) -> Tensor:
    """Return the softmax of x (N, 1, H, W) over the positions of each image where `weight` is 1, and 0 elsewhere."""
    x = x.masked_fill(weight == 0, torch.finfo(x.dtype).min)
    return F.softmax(x.flatten(2), dim=2).view_as(x) * weight


def box_weights(boxes: list[Tensor], weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weights of positions inside of boxes and outside of them, (N, 1, H, W) each.

    A position inside of boxes weighs 1 / the area of the smallest box that contains it, in positions; a position
    outside weighs 1 / the number of positions outside. Edges are rounded outwards, and both edges belong to a box.

    Args:
        boxes: of each image, (n_i, 4), XYXY in positions of the map.
        weight: (N, 1, H, W), 1 where a position counts.
    """
    height, width = weight.shape[2:]
    y, x = (torch.arange(n, device=weight.device) for n in (height, width))
    foreground = torch.zeros_like(weight)
    for out, of_image in zip(foreground, boxes, strict=True):
        if len(of_image) == 0:
            continue
        low, high = of_image[:, :2].floor().to(weight.dtype), of_image[:, 2:].ceil().to(weight.dtype)
        inside_x, inside_y = ((p >= low[:, i, None]) & (p <= high[:, i, None]) for i, p in enumerate((x, y)))
        area = (high + 1 - low).prod(dim=1)
        inside = inside_y[:, :, None] & inside_x[:, None, :]
        out[0] = (inside / area[:, None, None]).amax(dim=0)
    foreground = foreground * weight
    outside = (foreground == 0) * weight
    return foreground, outside / outside.sum(dim=(2, 3), keepdim=True).clamp(min=1)
