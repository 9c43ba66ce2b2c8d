"""torch.compile for distillers."""

from collections.abc import Iterable

from torch._functorch import config as functorch

from ..distilled_model import DistillPoint
from ..errors import UserError

# Inductor of torch 2.11 fails where it chooses layouts: it sorts strides that depend on the size of a map.
OPTIONS = {"layout_optimization": False}


def compile_distillers(points: Iterable[DistillPoint]) -> None:
    """Compile the distiller of each point in place, with sizes left open; its names in a checkpoint stay.

    It happens in the first steps, and again only where a size changes what is computed: points and sizes share graphs.

    Args:
        points: of a `DistilledModel`.

    Raises:
        UserError: if a distiller recomputes activations, which torch cannot compile.
    """
    functorch.donated_buffer = False  # the report of gradient norms goes backward through one graph several times
    points = list(points)
    for point in points:
        if getattr(point.distiller, "recompute", False):
            raise UserError(f"point '{point.name}': train.compile does not go with recompute=True of its distiller")
    for distiller in dict.fromkeys(point.distiller for point in points):
        distiller.compile(dynamic=True, options=OPTIONS)
