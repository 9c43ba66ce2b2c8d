"""Compile distillers with torch.compile."""

from collections.abc import Iterable

from torch._dynamo import config as dynamo
from torch._functorch import config as functorch
from torch._inductor.cpp_builder import get_cpp_compiler
from torch._inductor.exc import InvalidCxxCompiler
from torch.utils._triton import has_triton

from ..errors import UserError
from ..meta_arch.distill_point import DistillPoint

# Layout optimization fails in torch 2.11's inductor: it sorts strides that depend on the size of a map.
OPTIONS = {"layout_optimization": False}
GRAPHS = 8  # per distiller; torch's own limit is 8 per class, and it compiles nothing beyond the limit


def compile_distillers(points: Iterable[DistillPoint]) -> None:
    """Compile the distiller of each point in place for maps of any size; its keys in checkpoints do not change.

    Each combination of widths, options, mask or no mask, and one or several images has its own graph. It is compiled in
    the step that first needs it, and equal distillers share it.

    Args:
        points: the points of a `DistilledModel`.

    Raises:
        UserError: if there is no compiler, or a distiller recomputes activations, which torch cannot compile.
    """
    points = list(points)
    for point in points:
        if any(getattr(m, "recompute", False) for m in point.distiller.modules()):
            raise UserError(f"point '{point.name}': train.compile does not go with recompute=True of its distiller")
    _require_compiler(any(p.is_cuda for point in points for p in point.parameters()))
    distillers = dict.fromkeys(point.distiller for point in points)
    dynamo.recompile_limit = max(dynamo.recompile_limit, GRAPHS * len(distillers))
    dynamo.specialize_float = True  # weights and eps are constants; as symbols, torch would trace everything twice
    functorch.donated_buffer = False  # the gradient report runs several backward passes through one graph
    for distiller in distillers:
        distiller.compile(dynamic=True, options=OPTIONS)


def _require_compiler(cuda: bool) -> None:
    if cuda:
        if not has_triton():
            raise UserError("train.compile needs Triton on a GPU")
        return
    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise UserError("train.compile needs a C++ compiler, such as g++") from error
