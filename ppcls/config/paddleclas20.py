"""The flat dialect of PaddleClas 2.0, typed, and its translation into the sectioned schema.

Its sections are `ARCHITECTURE`, `LEARNING_RATE`, `OPTIMIZER`, `TRAIN` and `VALID`, with scalars
beside them. Batch sizes are totals over all cards.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from ppcls.config.schema import Device
from ppcls.config.yaml_files import Key, dotted
from ppcls.data.transforms.mix import MixOp
from ppcls.data.transforms.pipeline import TransformList, refuse_random
from ppcls.models.catalogue import list_models, unknown
from ppcls.options import (
    Count,
    Factor,
    Mismatch,
    Natural,
    NotNegative,
    Options,
    PathText,
    Positive,
    Share,
    Side,
)
from ppcls.registry import follows_registries

__all__ = [
    "FLAT_SECTIONS",
    "SECTIONED_NAMES",
    "FlatConfig",
    "flat_name",
    "is_flat",
    "sectioned_origins",
    "translate",
]


class ArchitectureParams(Options):
    """Arguments of the model's constructor."""

    dropout: Share | None = None


_DISTILLS = "_distill_"


class Architecture(Options):
    """The model; `TEACHER_distill_STUDENT` for a distillation."""

    name: str
    params: ArchitectureParams = ArchitectureParams()

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        for model in name.split(_DISTILLS, 1):
            if model not in list_models():
                raise ValueError(unknown(model))
        return name


class RateParams(Options):
    """Arguments of the schedule; the sectioned schema checks which ones a schedule accepts.

    Attributes:
        lr: the learning rate at the start, or after the warm-up.
        decay_epochs: for Piecewise, the epochs at which the rate is multiplied by `gamma` (0.1).
        warmup_epoch: for CosineWarmup, the epochs of linear warm-up (5).
        end_lr: for Linear, the final rate (0).
    """

    lr: Positive = 0.1
    decay_epochs: list[Count] | None = None
    gamma: Factor | None = None
    warmup_epoch: Natural | None = None
    end_lr: NotNegative | None = None


class LearningRate(Options):
    """The learning rate schedule."""

    function: Literal["Piecewise", "Cosine", "CosineWarmup", "Linear"]
    params: RateParams = RateParams()


class OptimizerParams(Options):
    """Arguments of the optimizer; the sectioned schema checks which ones it accepts."""

    momentum: Share | None = None
    rho: Share | None = None
    epsilon: Positive | None = None
    beta1: Share | None = None
    beta2: Share | None = None


class RegularizerOptions(Options):
    """A penalty on the weights w: `factor * |w|` (L1) or `factor / 2 * w²` (L2)."""

    function: Literal["L1", "L2"]
    factor: NotNegative


class FlatOptimizer(Options):
    """The optimizer and its weight decay."""

    function: Literal["SGD", "Momentum", "RMSProp", "RmsProp", "Adam", "AdamW"] = "Momentum"
    params: OptimizerParams = OptimizerParams()
    regularizer: RegularizerOptions | None = None


@follows_registries
class Reader(Options):
    """The options of TRAIN and VALID: a list of images and their transforms.

    `batch_size` is the total over all cards.
    """

    batch_size: Count
    num_workers: Annotated[int, Field(ge=0, le=1024)] = 4
    file_list: PathText
    data_dir: PathText
    delimiter: Annotated[str, Field(min_length=1)] = " "
    transforms: TransformList

    @field_validator("batch_size")
    @classmethod
    def _can_be_shared(cls, size: int, info: ValidationInfo) -> int:
        processes = (info.context or {}).get("processes", 1)
        if size % processes:
            raise ValueError(
                f"{size} images over all cards cannot be shared evenly by {processes} processes; "
                f"use a multiple of {processes}"
            )
        return size


@follows_registries
class TrainReader(Reader):
    """The training set.

    `shuffle_seed` is the seed of the whole run; `use_mix: true` enables `mix`.
    """

    shuffle_seed: Natural = 0
    mix: list[MixOp] = []


@follows_registries
class ValidReader(Reader):
    """The validation set, of which every image is evaluated once."""

    @field_validator("transforms")
    @classmethod
    def _draws_nothing(cls, ops: list) -> list:
        refuse_random(ops, "VALID")
        return ops


def _smoothing(epsilon: float) -> float:
    if -1 < epsilon < 0:
        raise ValueError(f"expected a share from 0 to below 1, or -1 for none, not {epsilon:g}")
    return epsilon


@follows_registries
class FlatConfig(Options):
    """A whole configuration in the flat dialect.

    With `use_distillation` the student learns to predict like the teacher, without the labels of
    the training images. The teacher's weights are `pretrained_model` (default: the published
    ones).

    `device` takes precedence over `use_gpu`. `last_epoch` is the last complete epoch of
    `checkpoints`, counted from 0. `label_list` names the classes, for exported models.
    """

    ARCHITECTURE: Architecture
    pretrained_model: PathText | None = None
    model_save_dir: PathText = "./output/"
    checkpoints: PathText | None = None
    last_epoch: Annotated[int, Field(ge=-1)] = -1
    classes_num: Count = 1000
    save_interval: Count = 1
    validate_: Annotated[bool, Field(alias="validate")] = True
    valid_interval: Count = 1
    epochs: Count = 120
    topk: Count = 5
    image_shape: Annotated[list[Side], Field(min_length=3, max_length=3)] | None = None
    use_mix: bool = False
    ls_epsilon: Annotated[float, Field(ge=-1, lt=1), AfterValidator(_smoothing)] = 0.0
    use_distillation: bool = False
    LEARNING_RATE: LearningRate | None = None
    OPTIMIZER: FlatOptimizer = FlatOptimizer()
    TRAIN: TrainReader | None = None
    VALID: ValidReader | None = None
    print_interval: Count = 10
    vdl_dir: PathText | None = None
    use_gpu: bool | None = None
    device: Device | None = None
    label_list: PathText | None = None

    @field_validator("pretrained_model", "checkpoints", "vdl_dir", mode="before")
    @classmethod
    def _empty_is_none(cls, path: Any) -> Any:
        return None if path == "" else path

    @model_validator(mode="after")
    def _mixes_with_something(self) -> FlatConfig:
        if self.use_mix and self.TRAIN and not self.TRAIN.mix:
            raise Mismatch(
                "True needs TRAIN.mix, such as [MixupOperator: {alpha: 0.2}]",
                "use_mix",
                "TRAIN.mix",
            )
        if self.use_distillation != (_DISTILLS in self.ARCHITECTURE.name):
            raise Mismatch(
                "True needs ARCHITECTURE.name: TEACHER_distill_STUDENT, such as "
                "HarDNet85_distill_HarDNet39_ds",
                "use_distillation",
                "ARCHITECTURE.name",
            )
        if self.last_epoch >= 0 and not self.checkpoints:
            raise Mismatch("needs checkpoints, which is not set", "last_epoch", "checkpoints")
        return self


FLAT_SECTIONS = ("ARCHITECTURE", "LEARNING_RATE", "OPTIMIZER", "TRAIN", "VALID")
"""A file with one of these sections is in the flat dialect."""


def is_flat(data: Mapping[str, Any]) -> bool:
    """Whether a file is in the flat dialect, that is, has one of its sections."""
    return any(name in data for name in FLAT_SECTIONS)


_READER = {
    "file_list": ("dataset", "cls_label_path"),
    "data_dir": ("dataset", "image_root"),
    "delimiter": ("dataset", "delimiter"),
    "transforms": ("dataset", "transform_ops"),
    "mix": ("dataset", "batch_transform_ops"),
    "batch_size": ("sampler", "batch_size"),
    "num_workers": ("loader", "num_workers"),
}

FLAT_TO_SECTIONED: dict[Key, Key] = {
    ("ARCHITECTURE", "name"): ("Arch", "name"),
    ("ARCHITECTURE", "params", "dropout"): ("Arch", "dropout"),
    ("classes_num",): ("Arch", "class_num"),
    ("use_gpu",): ("Global", "device"),
    ("device",): ("Global", "device"),
    ("TRAIN", "shuffle_seed"): ("Global", "seed"),
    ("model_save_dir",): ("Global", "output_dir"),
    ("checkpoints",): ("Global", "checkpoints"),
    ("last_epoch",): ("Global", "last_epoch"),
    ("pretrained_model",): ("Global", "pretrained_model"),
    ("epochs",): ("Global", "epochs"),
    ("validate",): ("Global", "eval_during_train"),
    ("valid_interval",): ("Global", "eval_interval"),
    ("save_interval",): ("Global", "save_interval"),
    ("print_interval",): ("Global", "print_batch_step"),
    ("vdl_dir",): ("Global", "vdl_dir"),
    ("image_shape",): ("Global", "image_shape"),
    ("topk",): ("Metric", "Eval"),
    ("ls_epsilon",): ("Loss", "Train"),
    ("LEARNING_RATE",): ("Optimizer", "lr"),
    ("LEARNING_RATE", "function"): ("Optimizer", "lr", "name"),
    ("LEARNING_RATE", "params", "lr"): ("Optimizer", "lr", "learning_rate"),
    **{
        ("LEARNING_RATE", "params", name): ("Optimizer", "lr", name)
        for name in RateParams.model_fields
        if name != "lr"
    },
    ("OPTIMIZER",): ("Optimizer",),
    ("OPTIMIZER", "function"): ("Optimizer", "name"),
    **{("OPTIMIZER", "params", name): ("Optimizer", name) for name in OptimizerParams.model_fields},
    ("OPTIMIZER", "regularizer"): ("Optimizer", "regularizer"),
    ("OPTIMIZER", "regularizer", "function"): ("Optimizer", "regularizer", "name"),
    ("OPTIMIZER", "regularizer", "factor"): ("Optimizer", "regularizer", "coeff"),
    ("label_list",): ("Infer", "PostProcess", "class_id_map_file"),
    ("TRAIN",): ("DataLoader", "Train"),
    ("VALID",): ("DataLoader", "Eval"),
    **{
        (reader, name): ("DataLoader", section, *place)
        for reader, section in (("TRAIN", "Train"), ("VALID", "Eval"))
        for name, place in _READER.items()
    },
}
"""The sectioned key of each flat key."""


SECTIONED_NAMES = {dotted(flat): dotted(key) for flat, key in FLAT_TO_SECTIONED.items()}
"""The dotted names of sectioned keys by the names of flat keys."""

_FLAT = {key: flat for flat, key in FLAT_TO_SECTIONED.items()}


def flat_name(key: Key) -> str:
    """Return the flat dialect's dotted name of a sectioned key, if there is one."""
    known = (end for end in range(len(key), 0, -1) if key[:end] in _FLAT)
    end = next(known, 0)
    return dotted(_FLAT[key[:end]] + key[end:]) if end else dotted(key)


def sectioned_origins(origins: Mapping[Key, str]) -> dict[Key, str]:
    """Return the origins of the sectioned values, given those of the flat values."""
    found: dict[Key, str] = {}
    for key, at in origins.items():
        for end in range(len(key), 0, -1):
            if key[:end] in FLAT_TO_SECTIONED:
                found[FLAT_TO_SECTIONED[key[:end]] + key[end:]] = at
                break
    return found


def _learning_rate(rate: LearningRate) -> dict[str, Any]:
    params = rate.params.model_dump(exclude_none=True)
    first = params.pop("lr")
    if rate.function == "Piecewise":
        gamma, count = params.pop("gamma", 0.1), len(params.get("decay_epochs", ()))
        values = [first * gamma**i for i in range(count + 1)]
        return {"name": "Piecewise", "values": values, **params}
    if rate.function == "CosineWarmup":
        return {"name": "Cosine", "learning_rate": first, "warmup_epoch": 5, **params}
    return {"name": rate.function, "learning_rate": first, **params}


def _optimizer(flat: FlatConfig) -> dict[str, Any] | None:
    if flat.LEARNING_RATE is None:
        return None
    options = flat.OPTIMIZER
    section: dict[str, Any] = {
        # PaddleClas's documentation and code spell it differently.
        "name": "RMSProp" if options.function == "RmsProp" else options.function,
        "lr": _learning_rate(flat.LEARNING_RATE),
        **options.params.model_dump(exclude_none=True),
    }
    if options.regularizer:
        section["regularizer"] = {
            "name": options.regularizer.function,
            "coeff": options.regularizer.factor,
        }
    return section


def _loader(reader: Reader, mix: list[Any], processes: int, training: bool) -> dict[str, Any]:
    order = {"shuffle": True, "drop_last": True} if training else {}
    return {
        "dataset": {
            "image_root": reader.data_dir,
            "cls_label_path": reader.file_list,
            "delimiter": reader.delimiter,
            "transform_ops": [op.model_dump(exclude_unset=True) for op in reader.transforms],
            "batch_transform_ops": [op.model_dump(exclude_unset=True) for op in mix],
        },
        "sampler": {"batch_size": reader.batch_size // processes} | order,
        "loader": {"num_workers": reader.num_workers},
    }


def _distillation(flat: FlatConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the sections Arch and Loss of a distillation."""
    teacher, student = flat.ARCHITECTURE.name.split(_DISTILLS, 1)
    arch = {
        "name": "DistillationModel",
        "class_num": flat.classes_num,
        "models": [
            {"Teacher": {"name": teacher, "pretrained": flat.pretrained_model or True}},
            {"Student": {"name": student}},
        ],
        "freeze_params_list": [True, False],
        "infer_model_name": "Student",
    }
    pair = {"weight": 1.0, "model_name_pairs": [["Student", "Teacher"]]}
    return arch, {"Train": [{"DistillationDMLLoss": pair}], "Eval": [{"CELoss": {"weight": 1.0}}]}


def translate(flat: FlatConfig, processes: int = 1) -> dict[str, Any]:
    """Return the sections that are equivalent to a flat configuration.

    Args:
        flat: a validated configuration in the flat dialect.
        processes: how many processes share a batch; batch sizes must be multiples of it.
    """
    mix = flat.TRAIN.mix if flat.TRAIN and flat.use_mix else []
    topk = {"TopkAcc": {"topk": sorted({1, flat.topk})}}
    loss = {"CELoss": {"weight": 1.0, "epsilon": max(0.0, flat.ls_epsilon)}}
    readers = [reader for reader in (flat.TRAIN, flat.VALID) if reader]
    follows = any(op.follows_image_size for reader in readers for op in reader.transforms)
    data: dict[str, Any] = {
        "Global": {
            "device": flat.device or {None: "auto", True: "gpu", False: "cpu"}[flat.use_gpu],
            "seed": flat.TRAIN.shuffle_seed if flat.TRAIN else 0,
            "output_dir": flat.model_save_dir,
            "checkpoints": flat.checkpoints,
            "last_epoch": flat.last_epoch if flat.last_epoch >= 0 else None,
            "pretrained_model": flat.pretrained_model,
            "epochs": flat.epochs,
            "eval_during_train": flat.validate_,
            "eval_interval": flat.valid_interval,
            "save_interval": flat.save_interval,
            "print_batch_step": flat.print_interval,
            "use_visualdl": flat.vdl_dir is not None,
            "vdl_dir": flat.vdl_dir,
            "image_shape": flat.image_shape,
            "image_size": flat.image_shape[1:] if flat.image_shape and follows else None,
            "checkpoint_layout": "flat",
        },
        "Arch": {"name": flat.ARCHITECTURE.name, "class_num": flat.classes_num},
        "Loss": {"Train": [loss], "Eval": [{"CELoss": {"weight": 1.0}}]},
        # Mixed images have no single true class to compare a prediction with.
        "Metric": {"Train": [] if mix else [topk], "Eval": [topk]},
        "DataLoader": {},
    }
    if flat.use_distillation:
        data["Global"]["pretrained_model"] = None
        data["Arch"], data["Loss"] = _distillation(flat)
    elif flat.ARCHITECTURE.params.dropout is not None:
        data["Arch"]["dropout"] = flat.ARCHITECTURE.params.dropout
    optimizer = _optimizer(flat)
    if optimizer:
        data["Optimizer"] = optimizer
    if flat.TRAIN:
        data["DataLoader"]["Train"] = _loader(flat.TRAIN, mix, processes, training=True)
    if flat.VALID:
        data["DataLoader"]["Eval"] = _loader(flat.VALID, [], processes, training=False)
        data["Infer"] = {
            "PostProcess": {"topk": flat.topk, "class_id_map_file": flat.label_list},
        }
    return data
