"""The configuration: every section and key, typed.

Sections and keys are those of PaddleClas 2.x. Reading and checking one does not need Paddle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from ppcls.config.data import DataLoaders
from ppcls.config.sections import LossOptions, MetricOptions
from ppcls.data.transforms.base import Channels
from ppcls.data.transforms.pipeline import Pipeline, TransformList, refuse_random
from ppcls.errors import ConfigError
from ppcls.models.catalogue import list_models, model_card, unknown
from ppcls.optim.optimizers import OptimizerOption
from ppcls.options import Count, Mismatch, Natural, Options, PathText, Share, Side
from ppcls.plugins import listed
from ppcls.registry import follows_registries, is_own
from ppcls.spelling import did_you_mean
from ppcls.thresholds import Thresholds, thresholds_of

__all__ = ["Config", "Device", "required"]

SectionT = TypeVar("SectionT")


Part = Literal["Train", "Eval", "Infer"]
_PARTS: tuple[Part, ...] = get_args(Part)
Device = Literal["auto", "cpu", "gpu", "xpu", "npu", "mlu", "gcu"]


class GlobalOptions(Options):
    """Settings of the whole run.

    Attributes:
        plugins: modules to import, by name or by the path of a `.py` file; configurations can then
            name the classes that they register.
        device: the device; `auto` is a GPU if Paddle can use one, otherwise the CPU.
        seed: seed of weights, order of images, augmentation and dropout.
        output_dir: the folder of all runs; a run writes to its sub-folder named after the
            architecture.
        pretrained_model: pretrained weights for training, or trained weights to evaluate, export
            and predict with: a path (the suffix is optional) or a URL.
        strict: treat weights with a missing parameter or a wrong shape as an error.
        epochs: passes over the training images.
        eval_during_train: evaluate during training, and keep the best weights.
        eval_interval: epochs between evaluations.
        print_batch_step: steps between log lines.
        use_visualdl: write scalars and sample images for VisualDL.
        image_size: side, or height and width, of the model's input, for transforms without a size
            of their own; null is the architecture's.
        in_channels: channels of the images and of the model's input: 3 for RGB, 1 for gray, or the
            number of bands of every image; null is that of `image_shape`, or else 3.
        image_shape: channels, height and width that the model's input is checked against; null is
            the shape that the transforms give.
        save_inference_dir: output folder of `ppcls export`; a run's checkpoint is exported to
            `inference` beside it instead.
        checkpoints: the checkpoint to resume from: a path without suffix, or `auto` for the newest
            in the run's own folder.
        update_freq: batches whose gradients are accumulated for one update; a step is an update.
        start_eval_epoch: the first epoch with an evaluation.
        early_stop_patience: end the run after this number of evaluations without a better top-1.
        save_interval: epochs between the checkpoints `epoch_N`.
        save_steps: also save `latest` within an epoch, every N steps.
        save_minutes: also save `latest` within an epoch, every N minutes.
        keep_last: how many `epoch_N` to keep; null keeps all.
        on_nan: the reaction to a loss or gradient that is not finite: `stop` the run, or `skip`
            the update (every step then waits for the device).
        nan_limit: with `skip`, how many updates a run may skip.
        print_mem_info: show the peak memory in log lines.
        vdl_gradients: write histograms of the gradients for VisualDL, once an epoch.
        to_static: train the model as a static graph.
        vdl_dir: output folder of `use_visualdl`; null is `vdl` in the run's folder.
        checkpoint_layout: `best_model.pdparams`, or `best_model/ppcls.pdparams` (`flat`), where
            `epoch_1` is `0/ppcls`.
        last_epoch: the last complete epoch, counted from 0, of `checkpoints` without a record of
            it.
    """

    plugins: Annotated[
        list[str], BeforeValidator(listed, json_schema_input_type=list[str] | str)
    ] = []
    device: Device = "auto"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    output_dir: PathText = "./output"
    checkpoints: PathText | None = None
    pretrained_model: PathText | None = None
    strict: bool = True
    epochs: Count = 120
    update_freq: Count = 1
    eval_during_train: bool = True
    eval_interval: Count = 1
    start_eval_epoch: Count = 1
    early_stop_patience: Count | None = None
    save_interval: Count = 1
    save_steps: Count | None = None
    save_minutes: Annotated[float, Field(gt=0)] | None = None
    keep_last: Count | None = None
    on_nan: Literal["stop", "skip"] = "stop"
    nan_limit: Count = 10
    print_batch_step: Count = 10
    print_mem_info: bool = False
    use_visualdl: bool = False
    vdl_dir: PathText | None = None
    vdl_gradients: bool = False
    to_static: bool = False
    checkpoint_layout: Literal["sectioned", "flat"] = "sectioned"
    last_epoch: Natural | None = None
    image_size: Side | Annotated[list[Side], Field(min_length=2, max_length=2)] | None = None
    in_channels: Channels | None = None
    image_shape: Annotated[list[Side], Field(min_length=3, max_length=3)] | None = None
    save_inference_dir: PathText = "./inference"

    @model_validator(mode="after")
    def _gradients_are_shown_somewhere(self) -> GlobalOptions:
        if self.vdl_gradients and not self.use_visualdl:
            raise ValueError("vdl_gradients needs use_visualdl: true")
        return self

    @model_validator(mode="after")
    def _shape_has_these_channels(self) -> GlobalOptions:
        if self.in_channels and self.image_shape and self.image_shape[0] != self.in_channels:
            raise Mismatch(
                f"is {self.in_channels}, but Global.image_shape is {self.image_shape}: channels, "
                "height and width; leave one of the two out, or make them equal",
                "Global.in_channels",
                "Global.image_shape",
            )
        return self

    @model_validator(mode="after")
    def _patience_has_evaluations(self) -> GlobalOptions:
        if self.early_stop_patience and not self.eval_during_train:
            raise ValueError(
                "early_stop_patience counts evaluations, which eval_during_train: false disables"
            )
        return self


class AMPOptions(Options):
    """Mixed precision, on a GPU.

    Attributes:
        level: O1 casts the inputs of operators that benefit from 16 bits, O2 also the weights.
        dtype: the 16-bit type.
        scale_loss: loss scale, which keeps small float16 gradients from vanishing.
        use_dynamic_loss_scaling: adapt the loss scale to the gradients.
        use_promote: compute operators with inputs of both types in float32.
        use_fp16_test: evaluate in 16 bits, too (O2 always does).
    """

    use_amp: bool = True
    level: Literal["O1", "O2"] = "O1"
    dtype: Literal["float16", "bfloat16"] = "float16"
    scale_loss: Annotated[float, Field(gt=0)] = 1.0
    use_dynamic_loss_scaling: bool = False
    use_promote: bool = True
    use_fp16_test: bool = False


class EMAOptions(Options):
    """Average the weights over the updates: average = decay * average + (1 - decay) * weights.

    Evaluations and `.pdparams` use the average.
    """

    decay: Share = 0.9999


class ArchOptions(Options):
    """The model.

    Attributes:
        name: the architecture, as `ppcls list` prints it.
        class_num: number of classes.
        dropout: dropout rate before the last layer, for architectures with dropout; null is the
            published rate.
        pretrained: pretrained weights: true for the published ImageNet weights, a file, or a URL.
            With another number of classes the last layer is untrained.
        use_ssld: with `pretrained: true`, use the distilled weights (SSLD).
        freeze: patterns of parameter names that are not trained, such as `base.0.*`; a frozen
            batch normalisation keeps its statistics.
        use_sync_bn: synchronise batch normalisation over all GPUs.
        grad_checkpointing: recompute the feature maps within blocks in the backward pass instead
            of storing them: less memory, more time (DenseNet, HarDNet, DPN).
    """

    name: str
    class_num: Count = 1000
    dropout: Share | None = None
    pretrained: bool | str = False
    use_ssld: bool = False
    freeze: list[str] = []
    use_sync_bn: bool = False
    grad_checkpointing: bool = False

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in list_models():
            raise ValueError(unknown(name))
        return name

    @field_validator("pretrained", mode="before")
    @classmethod
    def _none_is_false(cls, pretrained: Any) -> Any:
        return False if pretrained is None else pretrained

    @model_validator(mode="after")
    def _has_dropout(self) -> ArchOptions:
        if self.dropout is not None and model_card(self.name).dropout is None:
            raise ValueError(f"{self.name} has no dropout")
        return self

    @model_validator(mode="after")
    def _ssld_of_what(self) -> ArchOptions:
        if self.use_ssld and self.pretrained is not True:
            raise ValueError("use_ssld selects published weights: set pretrained: true, too")
        return self

    @property
    def student(self) -> str | None:
        """The name of the deployed model of a distillation; None for a single model."""
        return None

    def deployed(self) -> ArchOptions:
        """Return the section of the model to evaluate, export and predict with."""
        return self


class DistilledModel(ArchOptions):
    """One of the models of a distillation.

    Attributes:
        return_patterns: names of the layers, such as `base.4`, whose outputs the losses compare.
    """

    return_patterns: Annotated[
        list[str],
        BeforeValidator(
            lambda found: [] if found is None else found, json_schema_input_type=list[str] | None
        ),
    ] = []


class DistillationArch(ArchOptions):
    """Several models, some of which learn from others.

    Attributes:
        models: maps of one name to one model: `[{Teacher: {…}}, {Student: {…}}]`; `class_num`
            defaults to that of this section.
        freeze_params_list: for each model, whether it is frozen; frozen models stay in evaluation
            mode.
        pretrained_list: for each model, the path or URL of its weights, or null.
        infer_model_name: the model to evaluate and deploy.
    """

    name: Literal["DistillationModel"]
    models: Annotated[
        list[Annotated[dict[str, DistilledModel], Field(min_length=1, max_length=1)]],
        Field(min_length=2),
    ]
    freeze_params_list: list[bool] | None = None
    pretrained_list: list[PathText | None] | None = None
    infer_model_name: str = "Student"

    @model_validator(mode="before")
    @classmethod
    def _same_classes(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(data.get("models"), list):
            return data
        classes = data.get("class_num", 1000)
        models = [
            {k: {"class_num": classes, **v} if isinstance(v, dict) else v for k, v in m.items()}
            if isinstance(m, dict)
            else m
            for m in data["models"]
        ]
        return {**data, "models": models}

    @property
    def by_name(self) -> dict[str, DistilledModel]:
        """The models by their names."""
        return {name: model for entry in self.models for name, model in entry.items()}

    @property
    def frozen(self) -> set[str]:
        """The names of the models that are not trained."""
        flags = self.freeze_params_list or [False] * len(self.models)
        return {name for name, flag in zip(self.by_name, flags, strict=True) if flag}

    @property
    def student(self) -> str:
        """The name of the deployed model."""
        return self.infer_model_name

    def deployed(self) -> ArchOptions:
        """Return the section of the deployed model."""
        model = self.by_name[self.infer_model_name]
        return ArchOptions(**model.model_dump(exclude={"return_patterns"}))

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        return name

    @model_validator(mode="after")
    def _fits_together(self) -> DistillationArch:
        names, count = list(self.by_name), len(self.models)
        if len(names) < count:
            raise ValueError("models: every model needs its own name")
        for key in ("freeze_params_list", "pretrained_list"):
            values = getattr(self, key)
            if values is not None and len(values) != count:
                raise ValueError(f"{key} has {len(values)} entries for {count} models")
        if self.infer_model_name not in names:
            hint = did_you_mean(self.infer_model_name, names)
            raise ValueError(f"infer_model_name: no model {self.infer_model_name!r} here{hint}")
        if self.infer_model_name in self.frozen:
            raise ValueError(
                f"infer_model_name: {self.infer_model_name} is frozen and learns nothing"
            )
        for name, model in self.by_name.items():
            if model.class_num != self.class_num:
                raise ValueError(
                    f"models: {name} has {model.class_num} classes, but Arch.class_num is "
                    f"{self.class_num}"
                )
        of_one = ArchOptions.model_fields
        for key in sorted(of_one.keys() - {"name", "class_num"}):
            if getattr(self, key) != of_one[key].default:
                raise ValueError(f"{key} is an option of each model: write it in Arch.models")
        return self


def _arch_class(value: Any) -> str:
    name = value.get("name") if isinstance(value, dict) else getattr(value, "name", None)
    return "DistillationArch" if name == "DistillationModel" else "ArchOptions"


def _post_process_class(value: Any) -> str | None:
    if isinstance(value, Options):
        return type(value).__name__
    if not isinstance(value, dict):
        return "Topk"
    name = value.get("name", "MultiLabelThreshOutput" if "threshold" in value else "Topk")
    if not isinstance(name, str):
        return "Topk"
    others = {"MultiLabelTopk": "MultiLabelThreshOutput", "DistillationPostProcess": "Topk"}
    return others.get(name, name)


class Topk(Options):
    """The `topk` best classes of an image, with names from a file of lines `label name`.

    `DistillationPostProcess` is the name in PaddleClas's distillations.
    """

    name: Literal["Topk", "DistillationPostProcess"] = "Topk"
    topk: Count = 5
    class_id_map_file: PathText | None = None


class MultiLabelThreshOutput(Options):
    """The classes of a multi-label image: those whose score, a sigmoid, is above the threshold.

    `MultiLabelTopk` is an earlier name of PaddleClas. Without a name, `Infer.PostProcess` is this
    one for a multi-label model, and `Topk` for others.

    Attributes:
        threshold: one for all classes; a list with one for each; or a map of class names, in which
            `default` is that of the classes not named (0.5).
        class_id_map_file: a file of lines `label name`.
    """

    name: Literal["MultiLabelThreshOutput", "MultiLabelTopk"] = "MultiLabelThreshOutput"
    threshold: Thresholds = 0.5
    class_id_map_file: PathText | None = None

    def thresholds(self, names: Sequence[str]) -> list[float]:
        """Return the threshold of each class.

        Args:
            names: the class names, in the order of their labels.

        Raises:
            ConfigError: the number of thresholds is another one, or no class has a name.
        """
        return thresholds_of(self.threshold, names, "Infer.PostProcess.threshold")


@follows_registries
class InferOptions(Options):
    """Input and output of `ppcls infer`; an exported model uses its transforms and class names.

    Attributes:
        infer_imgs: an image, a folder or a list.
        transforms: the evaluation transforms, from an image file to the model's input; null is
            those of `DataLoader.Eval`.
    """

    infer_imgs: PathText | None = None
    batch_size: Count = 32
    transforms: TransformList | None = None
    PostProcess: Annotated[
        Annotated[Topk, Tag("Topk")]
        | Annotated[MultiLabelThreshOutput, Tag("MultiLabelThreshOutput")],
        Discriminator(_post_process_class),
    ] = Topk()

    @field_validator("transforms")
    @classmethod
    def _draws_nothing(cls, ops: list | None) -> list | None:
        if ops is not None:
            refuse_random(ops, "Infer")
        return ops


_WITH = {"one": "one class", "several": "several labels"}
_FITTING = {
    ("Loss", "one"): "CELoss and FocalLoss fit",
    ("Loss", "several"): "MultiLabelLoss fits",
    ("Loss", "none"): "losses of model_name_pairs fit",
    ("Metric", "one"): "TopkAcc fits",
    ("Metric", "several"): "AccuracyScore, HammingDistance and MultiLabelMAP fit",
    ("Metric", "none"): "set it to null",
}


def _one_for_each_class(value: Any, key: str, classes: int) -> None:
    if isinstance(value, list) and len(value) != classes:
        raise Mismatch(
            f"has {len(value)} entries; Arch.class_num is {classes}", key, "Arch.class_num"
        )


@follows_registries
class Config(Options):
    """A whole configuration. A command reports the sections that it needs and that are missing."""

    Global: GlobalOptions = GlobalOptions()
    AMP: AMPOptions | None = None
    EMA: EMAOptions | None = None
    Arch: Annotated[
        Annotated[ArchOptions, Tag("ArchOptions")]
        | Annotated[DistillationArch, Tag("DistillationArch")],
        Discriminator(_arch_class),
    ]
    Loss: LossOptions = LossOptions()
    Optimizer: OptimizerOption | None = None
    DataLoader: DataLoaders = DataLoaders()
    Infer: InferOptions | None = None
    Metric: MetricOptions = MetricOptions()

    _notes: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the user about how the configuration was read."""
        return self._notes

    @property
    def multi_label(self) -> bool:
        """Whether an image may have several classes, as `Loss.Eval` says."""
        return any(term.labels == "several" for term in self.Loss.Eval)

    @property
    def image_size(self) -> tuple[int, int]:
        """Output height and width of transforms without a size of their own."""
        size = self.Global.image_size
        if size is None:
            size = model_card(self.Arch.deployed().name).input_size
        return (size, size) if isinstance(size, int) else (size[0], size[1])

    @property
    def in_channels(self) -> int:
        """Channels of the images and of the model's input."""
        shape = self.Global.image_shape
        return self.Global.in_channels or (shape[0] if shape else 3)

    def transforms(self, part: Part) -> list[Any] | None:
        """Return the configured transforms of a section; None without that section.

        `Infer.transforms` default to those of `DataLoader.Eval`.
        """
        if part == "Infer" and self.Infer and self.Infer.transforms:
            return self.Infer.transforms
        data = getattr(self.DataLoader, "Train" if part == "Train" else "Eval")
        return data.dataset.transform_ops if data else None

    def pipeline(self, part: Part) -> Pipeline:
        """Return the transforms of a section, each with a size.

        Raises:
            ConfigError: there is no such section.
        """
        key = f"DataLoader.{part}" if part != "Infer" else "Infer.transforms (or DataLoader.Eval)"
        ops = required(self.transforms(part), key, "ppcls")
        return Pipeline(ops, self.image_size, self.in_channels)

    def inference_pipeline(self) -> Pipeline:
        """Return the transforms of `Infer`, which are those of the evaluation.

        Raises:
            ConfigError: there are none, or the two differ.
        """
        pipeline = self.pipeline("Infer")
        if self.DataLoader.Eval and not pipeline.gives_same(self.pipeline("Eval")):
            raise ConfigError(
                "Infer.transforms differ from DataLoader.Eval.dataset.transform_ops: a model is "
                "used with the transforms that it was evaluated with; make them equal, or take "
                "those of the evaluation: -o Infer.transforms=null"
            )
        return pipeline

    def input_shape(self) -> list[int]:
        """Return [channels, height, width] of the model's input, the output of `Infer.transforms`.

        Raises:
            ConfigError: `Global.image_shape` differs, or there are no transforms.
        """
        height, width = self.image_size
        # Larger than the output, so that every transform has an effect.
        found = self.pipeline("Infer").output_shape(height + 40, width + 60)
        stated = self.Global.image_shape
        if stated not in (None, found):
            raise ConfigError(
                f"Global.image_shape is {stated}, but the evaluation transforms give {found} "
                "(channels, height, width); make them equal (`size` of a transform is [width, "
                "height]), or set Global.image_size and let the transforms follow it"
            )
        return found

    @model_validator(mode="after")
    def _no_size_is_transposed(self) -> Config:
        stated = {
            "Global.image_size": self.Global.image_size,
            "Global.image_shape": self.Global.image_shape and self.Global.image_shape[1:],
        }
        last: dict[str, tuple[str, list[int]]] = {}
        for part in _PARTS:
            if part == "Infer" and not (self.Infer and self.Infer.transforms):
                continue
            at = (
                "Infer.transforms"
                if part == "Infer"
                else f"DataLoader.{part}.dataset.transform_ops"
            )
            for i, op in enumerate(self.transforms(part) or ()):
                for option in ("size", "cover"):
                    size = getattr(op, option, None) if is_own(type(op)) else None
                    if not isinstance(size, list) or size[0] == size[1]:
                        continue
                    key = f"{at}.{i}.{type(op).__name__}.{option}"
                    last[part] = key, size
                    for other, sides in stated.items():
                        if sides == size:
                            raise Mismatch(
                                f"{size} is width {size[0]} and height {size[1]}, but {other} has "
                                f"height {size[0]} and width {size[1]}; a transform has the width "
                                f"first: {option}: {size[::-1]}",
                                key,
                                other,
                            )
        for name, (key, size) in last.items():
            other, of_eval = last.get("Eval", (key, size))
            if size == of_eval[::-1]:
                raise Mismatch(
                    f"{size} is width {size[0]} and height {size[1]}, but {other} is {of_eval}: "
                    f"{name} and Eval need the same sides; both are [width, height]",
                    key,
                    other,
                )
        return self

    @model_validator(mode="after")
    def _something_follows_the_image_size(self) -> Config:
        parts = [self.transforms(part) for part in _PARTS]
        ops = [op for listed in parts for op in listed or ()]
        if self.Global.image_size and ops and not any(op.follows_image_size for op in ops):
            sized = next((op for op in ops if getattr(op, "size", None)), ops[0])
            raise Mismatch(
                f"has no effect: every transform has a size of its own, such as "
                f"{type(sized).__name__}; leave out those sizes, or image_size",
                "Global.image_size",
            )
        return self

    @model_validator(mode="after")
    def _transforms_take_the_channels(self) -> Config:
        for part in _PARTS:
            infer = part == "Infer"
            if infer and not (self.Infer and self.Infer.transforms):
                continue
            key = "Infer.transforms" if infer else f"DataLoader.{part}.dataset.transform_ops"
            for i, op in enumerate(self.transforms(part) or ()):
                try:
                    op.for_channels(self.in_channels)
                except ConfigError as error:
                    raise Mismatch(str(error), f"{key}.{i}.{type(op).__name__}") from None
        return self

    @model_validator(mode="after")
    def _schedule_fits_the_run(self) -> Config:
        if self.Optimizer is None:
            return self
        lr = self.Optimizer.lr
        lr.check_length(self.Global.epochs)
        if lr.watches and not self.Global.eval_during_train:
            raise Mismatch(
                f"{lr.name} watches the evaluations, which Global.eval_during_train: false "
                "disables",
                "Optimizer.lr.name",
                "Global.eval_during_train",
            )
        return self

    @model_validator(mode="after")
    def _one_entry_a_class(self) -> Config:
        classes = self.Arch.class_num
        for section, terms in (("Train", self.Loss.Train), ("Eval", self.Loss.Eval)):
            for i, term in enumerate(terms):
                for key in term.per_class:
                    place = f"Loss.{section}.{i}.{type(term).__name__}.{key}"
                    _one_for_each_class(getattr(term, key), place, classes)
        for section, metrics in (("Train", self.Metric.Train), ("Eval", self.Metric.Eval)):
            for i, metric in enumerate(metrics):
                _one_for_each_class(
                    getattr(metric, "threshold", None),
                    f"Metric.{section}.{i}.{type(metric).__name__}.threshold",
                    classes,
                )
        return self

    @model_validator(mode="after")
    def _distils_what_there_is(self) -> Config:
        losses = [*self.Loss.Train, *self.Loss.Eval]
        metrics = [*self.Metric.Train, *self.Metric.Eval]
        if not isinstance(self.Arch, DistillationArch):
            odd = [type(term).__name__ for term in (*losses, *metrics) if term.models]
            train = self.DataLoader.Train and self.DataLoader.Train.dataset
            if train and train.labels == "none":
                odd.append(train.name)
            if odd:
                raise Mismatch(
                    f"{odd[0]} needs DistillationModel, not {self.Arch.name}", "Arch.name"
                )
            return self
        if self.Global.to_static:
            raise Mismatch("does not support a distillation", "Global.to_static")
        models, chosen = self.Arch.by_name, self.Arch.infer_model_name
        for where in ("Loss.Train", "Loss.Eval"):
            for term in self.Loss.Train if where == "Loss.Train" else self.Loss.Eval:
                kind = type(term).__name__
                if where == "Loss.Train" and not term.models:
                    raise Mismatch(f"{kind} names no model; use DistillationGTCELoss", where)
                for name in term.models:
                    if name not in models:
                        hint = did_you_mean(name, models)
                        raise Mismatch(f"{kind}: no model {name!r} in Arch.models{hint}", where)
                    if term.layer is not None and term.layer not in models[name].return_patterns:
                        raise Mismatch(
                            f"{kind}: {term.key!r} is not one of return_patterns of {name}", where
                        )
        for term in self.Loss.Eval:
            if term.deployed().models or set(term.models) - {chosen}:
                raise Mismatch(
                    f"only {chosen} (infer_model_name) is evaluated: use CELoss, or "
                    f"DistillationGTCELoss with model_names: [{chosen}]",
                    "Loss.Eval",
                )
        for metric in metrics:
            if set(metric.models) - {chosen}:
                raise Mismatch(
                    f"{chosen} (Arch.infer_model_name) is evaluated, not {metric.models[0]!r} "
                    "(model_key)",
                    "Metric",
                )
        return self

    @model_validator(mode="after")
    def _losses_and_metrics_fit_the_labels(self) -> Config:
        validated = self.DataLoader.Eval and self.DataLoader.Eval.dataset
        if validated and validated.labels == "none":
            raise Mismatch(f"an evaluation needs labels, not {validated.name}", "DataLoader.Eval")
        for part in ("Train", "Eval"):
            data = getattr(self.DataLoader, part)
            if data is None:
                continue
            labels = data.dataset.labels
            # Of a distillation on several labels only these can be trained.
            pairs = part == "Train" and isinstance(self.Arch, DistillationArch)
            for section in ("Loss", "Metric"):
                fitting = _FITTING[section, "none" if pairs and section == "Loss" else labels]
                for term in getattr(getattr(self, section), part):
                    if term.labels not in (labels, "none"):
                        raise Mismatch(
                            f"{type(term).__name__} is for images with {_WITH[term.labels]} each, "
                            f"but DataLoader.{part}.dataset is {data.dataset.name}; "
                            f"{fitting}",
                            f"{section}.{part}",
                            f"DataLoader.{part}.dataset",
                        )
        return self

    @model_validator(mode="after")
    def _evaluates_what_it_trains(self) -> Config:
        several = [type(t).__name__ for t in self.Loss.Train if t.labels == "several"]
        if several and not self.multi_label:
            raise Mismatch(
                f"{type(self.Loss.Eval[0]).__name__} is for images with one class each, but "
                f"Loss.Train has {several[0]}; {_FITTING['Loss', 'several']}",
                "Loss.Eval",
                "Loss.Train",
            )
        return self

    @model_validator(mode="after")
    def _post_process_fits_the_labels(self) -> Config:
        if self.Infer is None:
            return self
        post = self.Infer.PostProcess
        if isinstance(post, MultiLabelThreshOutput) == self.multi_label:
            given = getattr(post, "threshold", None)
            _one_for_each_class(given, "Infer.PostProcess.threshold", self.Arch.class_num)
            return self
        if self.multi_label and "name" not in post.model_fields_set:
            fitting = MultiLabelThreshOutput(class_id_map_file=post.class_id_map_file)
            infer = self.Infer.model_copy(update={"PostProcess": fitting})
            return self.model_copy(update={"Infer": infer})
        model, fits = "single-label", "Topk"
        if self.multi_label:
            model, fits = "multi-label", "MultiLabelThreshOutput"
        raise Mismatch(
            f"{type(post).__name__} does not fit a {model} model "
            f"({type(self.Loss.Eval[0]).__name__}); {fits} does",
            "Infer.PostProcess.name",
            "Loss.Eval",
        )

    def deployed(self) -> Config:
        """Return the configuration of the model to evaluate, export and predict with.

        For a distillation that is the model `Arch.infer_model_name`.
        """
        arch = self.Arch.deployed()
        if arch is self.Arch:
            return self
        losses = [term.deployed() for term in self.Loss.Eval]
        loss = self.Loss.model_copy(update={"Train": losses, "Eval": losses})
        return self.model_copy(update={"Arch": arch, "Loss": loss})


def required(section: SectionT | None, name: str, command: str) -> SectionT:
    """Return a section that a command needs.

    Raises:
        ConfigError: the section is missing.
    """
    if section is None:
        raise ConfigError(f"`{command}` needs the section {name}; it is missing")
    return section
