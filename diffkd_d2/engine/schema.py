"""Types and ranges of the options that a config sets, as a table."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
    ValidationError,
)

from ..errors import UserError, nearest
from .annotations import expected
from .call_arguments import Fraction, faults_of_calls


class Closed(BaseModel):
    """Options that only train_net.py reads; an unknown name is an error."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class Open(BaseModel):
    """Arguments of something that a config calls; names that are not in the table are left to the callee."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class Amp(Closed):
    """Mixed precision, `train.amp`."""

    dtype: Literal["float16", "bfloat16"] | None


class CheckpointerOptions(Closed):
    """When a checkpoint is written and how many stay, `train.checkpointer`."""

    period: PositiveInt
    max_to_keep: PositiveInt | None


class Train(Closed):
    """The options in `diffkd_d2/engine/defaults.py`, which explains each."""

    output_dir: Annotated[str, Field(min_length=1)]
    overwrite: bool = False
    init_checkpoint: str
    init_prefix: str = ""
    expected_missing: list[str] | str = []
    inherit: list[str] | str
    max_iter: PositiveInt
    seed: Annotated[int, Field(ge=-1, lt=2**63)]
    amp: Amp
    compile: bool
    clip_norm: PositiveFloat | None
    accumulate: PositiveInt
    lr_reference_batch: PositiveInt | None
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None
    precise_bn: NonNegativeInt = 0
    max_skipped: PositiveInt
    drop_distill: bool
    ddp: dict[str, Any]
    checkpointer: CheckpointerOptions
    eval_period: NonNegativeInt
    log_period: PositiveInt
    picture_period: NonNegativeInt = 0
    cudnn_benchmark: bool = False
    device: Annotated[str, Field(pattern=r"^(cpu|cuda(:\d+)?)$")]


class Distill(Closed):
    """Window and weight of `loss_kd`, the options of `AutoPoints`, the check of the teacher, and the balance."""

    start_iter: NonNegativeInt
    warmup_iters: NonNegativeInt
    stop_iter: PositiveInt | None
    weight: NonNegativeFloat = 1.0
    where: Annotated[list[str] | str, Field(min_length=1)] | None = None
    levels: Annotated[list[str] | str, Field(min_length=1)] | None = None
    teacher_check: NonNegativeInt = 0
    balance: PositiveFloat | None = None


class OptimizerParams(Open):
    """What decides on the groups of the optimizer, `optimizer.params`."""

    base_lr: PositiveFloat | None = None
    distiller_lr_factor: NonNegativeFloat = 1.0
    weight_decay_norm: NonNegativeFloat | None = None
    weight_decay_bias: NonNegativeFloat | None = None


class Optimizer(Open):
    """`configs/common/optim.py`."""

    lr: PositiveFloat | None = None
    momentum: NonNegativeFloat = 0.0
    weight_decay: NonNegativeFloat = 0.0
    params: OptimizerParams


class Curve(Open):
    """The course of the learning rate after the warm-up, `lr_multiplier.scheduler`."""

    start_value: NonNegativeFloat = 1.0
    end_value: NonNegativeFloat = 0.0
    base_value: NonNegativeFloat = 1.0
    power: NonNegativeFloat = 1.0
    values: list[NonNegativeFloat] | None = None
    milestones: list[NonNegativeFloat] | None = None
    num_updates: PositiveInt | None = None


class Schedule(Curve):
    """`configs/common/schedule.py`, or a curve without warm-up; the lengths are fractions of the run."""

    warmup_length: Fraction = 0.0
    warmup_factor: Fraction = 0.0
    warmup_method: Literal["linear", "constant"] = "linear"
    scheduler: Curve = Curve()


class Loader(Open):
    """`configs/common/data`."""

    total_batch_size: PositiveInt = 1
    batch_size: PositiveInt = 1
    num_workers: NonNegativeInt = 0
    num_repeats: PositiveInt = 1
    max_corrupt: Fraction = 0.0


class Dataloader(Open):
    """Training data, one test set or a list of them, and what judges, `dataloader`; without these, no evaluation."""

    train: Loader
    test: (
        Annotated[
            Annotated[Loader, Tag("one")] | Annotated[list[Loader], Tag("several")],
            Discriminator(lambda value: "several" if isinstance(value, list) else "one"),
        ]
        | None
    ) = None
    evaluator: dict[str, Any] | list[dict[str, Any]] | None = None


class Config(Open):
    """What a config defines."""

    model: dict[str, Any]
    dataloader: Dataloader
    optimizer: Optimizer
    lr_multiplier: Schedule
    train: Train
    distill: Distill


def check_config(cfg: DictConfig) -> None:
    """Check the types and ranges of a whole config.

    Raises:
        UserError: names every fault in one line: a missing part, a value of the wrong type or out of range, an unknown
            option of `train` or `distill`, a reference to a missing key.
    """
    wrong = [name for name in Config.model_fields if name in cfg and not isinstance(cfg[name], DictConfig)]
    if wrong:
        raise UserError("the config: " + "; ".join(f"{name} is {cfg[name]!r}, expected a dict" for name in wrong))
    try:
        parts = {name: OmegaConf.to_container(cfg[name], resolve=True) for name in Config.model_fields if name in cfg}
    except OmegaConfBaseException as error:
        raise UserError(f"the config: {str(error).splitlines()[0]} ({error.full_key})") from error
    try:
        Config.model_validate(parts)
    except ValidationError as error:
        own = [fault for fault in error.errors() if not _is_reference(cfg, fault["loc"])]
        lines = dict.fromkeys(map(_line, own or error.errors()))
        raise UserError("the config: " + "; ".join(lines)) from error
    # Other names at the top of a config, such as a loop variable, are not checked.
    faults = [fault for name in parts for fault in faults_of_calls(cfg[name], name)]
    if faults:
        raise UserError("the config: " + "; ".join(faults))


def _is_reference(node: Any, path: Sequence[Any]) -> bool:
    """Return whether a value refers to another key, such as `${..lr}`; the fault is that of the other key."""
    for key in path[:-1]:
        node = node.get(key) if isinstance(node, DictConfig) else None
    return isinstance(node, DictConfig) and path[-1] in node and OmegaConf.is_interpolation(node, path[-1])


def _line(fault: Any) -> str:
    path = ".".join(str(part) for part in fault["loc"] if part not in ("one", "several"))
    if fault["type"] == "missing":
        what = ": the config defines no dict and no L(...)(...) of this name" if len(fault["loc"]) == 1 else ""
        return f"{path} is missing{what}"
    if fault["type"] == "extra_forbidden":
        parts: dict[str, type[Closed]] = {"train": Train, "train.amp": Amp, "train.checkpointer": CheckpointerOptions}
        part = parts.get(".".join(map(str, fault["loc"][:-1])), Distill)
        return f"nothing reads {path}{nearest(str(fault['loc'][-1]), list(part.model_fields))}"
    if "[" in str(fault["loc"][-1]) or fault["loc"][-1] == "str":  # the alternative of a union, or an index
        path = path.rpartition(".")[0]
    return f"{path} is {fault['input']!r}, {expected(fault)}"
