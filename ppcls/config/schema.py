"""The configuration: every section and key, typed.

Sections and keys are those of PaddleClas 2.x. Paddle is not needed to read or check one.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from ppcls.config.data import DataLoaders
from ppcls.config.sections import LossOptions, MetricOptions
from ppcls.data.transforms.pipeline import Pipeline, TransformList, refuse_random
from ppcls.errors import ConfigError, did_you_mean
from ppcls.models.catalogue import list_models, model_card
from ppcls.optim.optimizers import OptimizerOption
from ppcls.options import Count, Mismatch, Options, PathText, Share
from ppcls.registry import follows_registries

__all__ = ["Config", "required"]

SectionT = TypeVar("SectionT")


Part = Literal["Train", "Eval", "Infer"]
_PARTS: tuple[Part, ...] = get_args(Part)
Side = Annotated[int, Field(gt=0, le=16384)]


class GlobalOptions(Options):
    """What holds for a whole run.

    Attributes:
        plugins: modules to import, by name or by the path of a `.py` file: what they register can
            be named like what ppcls has.
        device: what computes; `auto` is a GPU if Paddle can use one, and else the CPU.
        seed: of the weights, the order of images, augmentation and dropout.
        output_dir: what a run leaves is in the folder of the architecture's name in it.
        pretrained_model: weights to begin with, or to evaluate, export and predict with: a path
            (without suffix, too) or a URL.
        strict: whether weights that lack a parameter, or have one of another shape, are an error.
        epochs: passes over the training images.
        eval_during_train: evaluate during training, and keep the best weights.
        eval_interval: epochs from one evaluation to the next.
        print_batch_step: steps from one line of the log to the next.
        use_visualdl: write numbers and sample images for VisualDL.
        image_size: side, or height and width, of the model's input: transforms that name no size
            of their own follow it. Null is that of the architecture.
        image_shape: channels, height and width of the model's input, to be checked; null is what
            the transforms give.
        save_inference_dir: where `ppcls export` writes to; a run's checkpoint goes to `inference`
            beside it instead.
        checkpoints: the checkpoint to go on from, a path without suffix, or `auto` for the newest
            in the run's own folder.
        update_freq: batches whose gradients make up one update; a step is an update.
        start_eval_epoch: the first epoch that is evaluated.
        early_stop_patience: end the run after so many evaluations without a better top-1.
        save_interval: epochs between the checkpoints `epoch_N`.
        save_steps: save `latest` within an epoch too, every so many steps.
        save_minutes: save `latest` within an epoch too, every so many minutes.
        keep_last: how many `epoch_N` to keep; null keeps all.
        on_nan: what to do about a loss or gradient that is not finite: `stop` the run, or `skip`
            the update, for which every step waits for the device.
        nan_limit: with `skip`, how many updates a run may skip.
        print_mem_info: show the peak memory on the log line.
        vdl_gradients: histograms of the gradients for VisualDL, once an epoch.
        to_static: train the model as a static graph.
        vdl_dir: where `use_visualdl` writes to; null is `vdl` in the run's folder.
        checkpoint_layout: `best_model.pdparams`, or `best_model/ppcls.pdparams` (`flat`), where
            `epoch_1` is `0/ppcls`.
        last_epoch: the last complete epoch, from 0, of a `checkpoints` that does not say it.
    """

    plugins: list[str] = []
    device: Literal["auto", "cpu", "gpu", "xpu", "npu", "mlu", "gcu"] = "auto"
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
    last_epoch: Annotated[int, Field(ge=0)] | None = None
    image_size: Side | Annotated[list[Side], Field(min_length=2, max_length=2)] | None = None
    image_shape: Annotated[list[Count], Field(min_length=3, max_length=3)] | None = None
    save_inference_dir: PathText = "./inference"

    @model_validator(mode="after")
    def _gradients_are_shown_somewhere(self) -> GlobalOptions:
        if self.vdl_gradients and not self.use_visualdl:
            raise ValueError("vdl_gradients shows nothing without use_visualdl: true")
        return self

    @model_validator(mode="after")
    def _patience_has_evaluations(self) -> GlobalOptions:
        if self.early_stop_patience and not self.eval_during_train:
            raise ValueError(
                "early_stop_patience counts evaluations, which eval_during_train: false leaves out"
            )
        return self


class AMPOptions(Options):
    """Mixed precision, on a GPU.

    Attributes:
        level: O1 casts the inputs of the operators that gain from 16 bits, O2 the weights too.
        dtype: the 16-bit type.
        scale_loss: factor of the loss that keeps small float16 gradients from vanishing.
        use_dynamic_loss_scaling: let the factor follow what the gradients allow.
        use_promote: let an operator with inputs of both kinds compute in float32.
        use_fp16_test: evaluate in 16 bits too (O2 always does).
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

    The average is what is evaluated and what `.pdparams` holds.
    """

    decay: Share = 0.9999


class ArchOptions(Options):
    """Which model.

    Attributes:
        name: as `ppcls list` prints it.
        class_num: how many classes the model tells apart.
        dropout: the share of the last layer's inputs that training leaves out, of architectures
            that do so; null is the published one.
        pretrained: begin with the published ImageNet weights, with a file, or with a URL. With
            another number of classes the last layer is new.
        use_ssld: with `pretrained: true`, the weights that were distilled (SSLD).
        freeze: patterns over the names of parameters, such as `base.0.*`, that are not trained; a
            frozen batch normalisation keeps its statistics.
        use_sync_bn: batch normalisation over the batches of all GPUs.
        grad_checkpointing: compute the maps within the blocks again in the backward pass, instead
            of keeping them: less memory, more time (dense-connection families).
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
            raise ValueError(f"no such architecture{did_you_mean(name, list_models())}")
        return name

    @model_validator(mode="after")
    def _has_dropout(self) -> ArchOptions:
        if self.dropout is not None and model_card(self.name).dropout is None:
            raise ValueError(f"{self.name} has no dropout")
        return self

    @model_validator(mode="after")
    def _ssld_of_what(self) -> ArchOptions:
        if self.use_ssld and self.pretrained is not True:
            raise ValueError("use_ssld chooses among the published weights: set pretrained: true")
        return self

    @property
    def student(self) -> str | None:
        """The name of the one of several models that is deployed; None of a single model."""
        return None

    def deployed(self) -> ArchOptions:
        """Return the section of the model that is evaluated, exported and predicts."""
        return self


class DistilledModel(ArchOptions):
    """One of the models of a distillation.

    Attributes:
        return_patterns: names of layers, such as `base.4`, whose outputs losses compare.
    """

    return_patterns: list[str] = []


class DistillationArch(ArchOptions):
    """Several models of which some learn from others.

    Attributes:
        models: a map of one name to one model each: `[{Teacher: {…}}, {Student: {…}}]`; `class_num`
            is this section's where they have none.
        freeze_params_list: which of them are not trained; they answer as in evaluation.
        pretrained_list: a path or URL of weights for each of them, or null.
        infer_model_name: the one that is evaluated and deployed.
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
        """The name of the model that is deployed."""
        return self.infer_model_name

    def deployed(self) -> ArchOptions:
        """Return the section of the model that is deployed, alone."""
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
            raise ValueError("models: every model needs a name of its own")
        for key in ("freeze_params_list", "pretrained_list"):
            values = getattr(self, key)
            if values is not None and len(values) != count:
                raise ValueError(f"{key} has {len(values)} entries for {count} models")
        if self.infer_model_name not in names:
            hint = did_you_mean(self.infer_model_name, names)
            raise ValueError(f"infer_model_name: no model {self.infer_model_name!r} here{hint}")
        if self.infer_model_name in self.frozen:
            raise ValueError(
                f"infer_model_name: {self.infer_model_name} is frozen, and learns nothing"
            )
        for name, model in self.by_name.items():
            if model.class_num != self.class_num:
                raise ValueError(
                    f"models: {name} has {model.class_num} classes, and Arch.class_num is "
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


class Topk(Options):
    """The `topk` best classes of an image, named by the lines `label name` of a file."""

    name: Literal["Topk"] = "Topk"
    topk: Count = 5
    class_id_map_file: PathText | None = None


@follows_registries
class InferOptions(Options):
    """What `ppcls infer` reads and answers; an exported model takes its transforms and names.

    Attributes:
        infer_imgs: an image, a folder or a list.
        transforms: those of evaluation, on the way from an image file to the model; null is those
            of `DataLoader.Eval`.
    """

    infer_imgs: PathText | None = None
    batch_size: Count = 32
    transforms: TransformList | None = None
    PostProcess: Topk = Topk()

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


@follows_registries
class Config(Options):
    """A whole configuration. Sections that a command needs and lacks are named by that command."""

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

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images that transforms without a size of their own give."""
        size = self.Global.image_size
        if size is None:
            size = model_card(self.Arch.deployed().name).input_size
        return (size, size) if isinstance(size, int) else (size[0], size[1])

    def transforms(self, part: Part) -> list[Any] | None:
        """Return a list of transforms, as it is configured; None where there is no such section.

        `Infer.transforms` are those of `DataLoader.Eval` where they are not set.
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
        return Pipeline(required(self.transforms(part), key, "ppcls"), self.image_size)

    def input_shape(self) -> list[int]:
        """Return [channels, height, width] of the model's input: what `Infer.transforms` give.

        Raises:
            ConfigError: `Global.image_shape` is set, and is another; or there are no transforms.
        """
        height, width = self.image_size
        # Larger than the result, so that the transforms have to do all that they do.
        found = self.pipeline("Infer").output_shape(height + 40, width + 60)
        stated = self.Global.image_shape
        if stated not in (None, found):
            raise ConfigError(
                f"Global.image_shape is {stated}, and the transforms of evaluation give {found}; "
                "leave it out, or set Global.image_size and let the transforms follow it"
            )
        return found

    @model_validator(mode="after")
    def _something_follows_the_image_size(self) -> Config:
        parts = [self.transforms(part) for part in _PARTS]
        ops = [op for listed in parts for op in listed or ()]
        if self.Global.image_size and ops and not any(op.follows_image_size for op in ops):
            sized = next((op for op in ops if getattr(op, "size", None)), ops[0])
            raise Mismatch(
                f"changes nothing: every transform has a size of its own, such as "
                f"{type(sized).__name__}; leave those out, or it",
                "Global.image_size",
            )
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
                "leaves out",
                "Optimizer.lr.name",
                "Global.eval_during_train",
            )
        return self

    @model_validator(mode="after")
    def _one_weight_a_class(self) -> Config:
        classes = self.Arch.class_num
        for section, terms in (("Train", self.Loss.Train), ("Eval", self.Loss.Eval)):
            for i, term in enumerate(terms):
                for key in term.per_class:
                    weights = getattr(term, key)
                    if isinstance(weights, list) and len(weights) != classes:
                        raise Mismatch(
                            f"has {len(weights)} entries; Arch.class_num is {classes}",
                            f"Loss.{section}.{i}.{type(term).__name__}.{key}",
                            "Arch.class_num",
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
            raise Mismatch("several models at once are not trained that way", "Global.to_static")
        models, chosen = self.Arch.by_name, self.Arch.infer_model_name
        for where in ("Loss.Train", "Loss.Eval"):
            for term in self.Loss.Train if where == "Loss.Train" else self.Loss.Eval:
                kind = type(term).__name__
                if where == "Loss.Train" and not term.models:
                    raise Mismatch(f"{kind} names no model; DistillationGTCELoss does", where)
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
                    f"{chosen} (infer_model_name) alone is evaluated: CELoss, or "
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
            for section in ("Loss", "Metric"):
                for term in getattr(getattr(self, section), part):
                    if term.labels not in (labels, "none"):
                        raise Mismatch(
                            f"{type(term).__name__} is for images with {_WITH[term.labels]} each, "
                            f"and DataLoader.{part}.dataset is {data.dataset.name}; "
                            f"{_FITTING[section, labels]}",
                            f"{section}.{part}",
                            f"DataLoader.{part}.dataset",
                        )
        return self

    def deployed(self) -> Config:
        """Return the configuration of the model that is evaluated, exported and predicts.

        Of a distillation that is `Arch.infer_model_name` alone.
        """
        arch = self.Arch.deployed()
        if arch is self.Arch:
            return self
        losses = [term.deployed() for term in self.Loss.Eval]
        loss = self.Loss.model_copy(update={"Train": losses, "Eval": losses})
        return self.model_copy(update={"Arch": arch, "Loss": loss})

    def refuse_several_labels(self, command: str) -> None:
        """Stop a command that would answer with the one best class of a model that knows several.

        Raises:
            ConfigError: the model gives each image any number of labels.
        """
        several = [t for t in (*self.Loss.Train, *self.Loss.Eval) if t.labels == "several"]
        if several:
            raise ConfigError(
                f"`{command}` answers with the best class, and this model gives images several "
                f"labels ({type(several[0]).__name__}): such models are trained and evaluated, and "
                "not deployed yet"
            )


def required(section: SectionT | None, name: str, command: str) -> SectionT:
    """Return a section of the configuration that a command cannot do without.

    Raises:
        ConfigError: the section is absent.
    """
    if section is None:
        raise ConfigError(f"`{command}` needs the section {name}; it is missing")
    return section
