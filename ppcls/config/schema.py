"""The configuration: every section and key, typed.

Sections and keys are those of PaddleClas 2.x. Paddle is not needed to read or check one.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from ppcls.data.datasets import DataLoaders, check_pipeline, refuse_random
from ppcls.data.transforms.base import TransformOp
from ppcls.errors import ConfigError, did_you_mean
from ppcls.losses.options import (
    DistillationGTCELoss,
    DistillationLoss,
    LossOptions,
    MultiLabelLoss,
)
from ppcls.metrics.options import DistillationTopkAcc, LabelSetMetric, MetricOptions
from ppcls.models.catalogue import list_models, model_card
from ppcls.optim.options import OptimizerOptions, ReduceOnPlateau
from ppcls.option_types import Count, PathText, Share
from ppcls.options import Mismatch, Options
from ppcls.registry import follows_registries

__all__ = ["Config", "required"]

SectionT = TypeVar("SectionT")


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
        image_shape: channels, height and width of the model's input.
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
    image_shape: Annotated[list[Count], Field(min_length=3, max_length=3)] = [3, 224, 224]
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
        transforms: those of evaluation, on the way from an image file to the model.
    """

    infer_imgs: PathText | None = None
    batch_size: Count = 32
    transforms: Annotated[list[TransformOp], Field(min_length=1)]
    PostProcess: Topk = Topk()

    @field_validator("transforms")
    @classmethod
    def _draws_nothing(cls, ops: list) -> list:
        refuse_random(ops, "Infer")
        return ops

    _pipeline = field_validator("transforms")(check_pipeline)


_UNLABELED = "UnlabeledDataset"
_FITTING = {
    ("Loss", False): "CELoss and FocalLoss fit",
    ("Loss", True): "MultiLabelLoss fits",
    ("Metric", False): "TopkAcc fits",
    ("Metric", True): "AccuracyScore, HammingDistance and MultiLabelMAP fit",
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
    Optimizer: OptimizerOptions | None = None
    DataLoader: DataLoaders = DataLoaders()
    Infer: InferOptions | None = None
    Metric: MetricOptions = MetricOptions()

    @model_validator(mode="after")
    def _schedule_fits_the_run(self) -> Config:
        if self.Optimizer is None:
            return self
        lr, epochs = self.Optimizer.lr, self.Global.epochs
        if lr.warmup_epoch >= epochs:
            raise Mismatch(
                f"{lr.warmup_epoch} epochs leave nothing of Global.epochs ({epochs}); "
                "-o Optimizer.lr.warmup_epoch=0 fits",
                "Optimizer.lr.warmup_epoch",
                "Global.epochs",
            )
        for key in ("decay_epochs", "milestones"):
            at = getattr(lr, key, [0])
            if lr.warmup_epoch + max(at) >= epochs:
                warmup = f" after a warmup of {lr.warmup_epoch}" if lr.warmup_epoch else ""
                raise Mismatch(
                    f"{at}{warmup} does not end within Global.epochs ({epochs}); a schedule for "
                    "any number of epochs is -o "
                    "'Optimizer.lr={name: Cosine, learning_rate: 0.1}'",
                    f"Optimizer.lr.{key}",
                    "Global.epochs",
                )
        if isinstance(lr, ReduceOnPlateau) and not self.Global.eval_during_train:
            raise Mismatch(
                "ReduceOnPlateau watches the evaluations, which Global.eval_during_train: false "
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
                for key in ("alpha", "class_weights"):
                    weights = getattr(term, key, None)
                    if isinstance(weights, list) and len(weights) != classes:
                        raise Mismatch(
                            f"has {len(weights)} entries; Arch.class_num is {classes}",
                            f"Loss.{section}.{i}.{type(term).__name__}.{key}",
                            "Arch.class_num",
                        )
        return self

    @model_validator(mode="after")
    def _distils_what_there_is(self) -> Config:
        terms = [("Loss.Train", t) for t in self.Loss.Train]
        terms += [("Loss.Eval", t) for t in self.Loss.Eval]
        metrics = [*self.Metric.Train, *self.Metric.Eval]
        unlabeled = self.DataLoader.Train and self.DataLoader.Train.dataset.name == _UNLABELED
        if self.DataLoader.Eval and self.DataLoader.Eval.dataset.name == _UNLABELED:
            raise Mismatch("an evaluation needs labels, not UnlabeledDataset", "DataLoader.Eval")
        if not isinstance(self.Arch, DistillationArch):
            kinds = (DistillationLoss, DistillationTopkAcc)
            odd = [t for t in (*(t for _, t in terms), *metrics) if isinstance(t, kinds)]
            if odd or unlabeled:
                what = type(odd[0]).__name__ if odd else _UNLABELED
                raise Mismatch(f"{what} needs DistillationModel, not {self.Arch.name}", "Arch.name")
            return self
        models, chosen = self.Arch.by_name, self.Arch.infer_model_name
        if self.Global.to_static:
            raise Mismatch("several models at once are not trained that way", "Global.to_static")
        for where, term in terms:
            kind = type(term).__name__
            if not isinstance(term, DistillationLoss):
                if where == "Loss.Train":
                    raise Mismatch(f"{kind} names no model; DistillationGTCELoss does", where)
                continue
            for name in term.models:
                if name not in models:
                    hint = did_you_mean(name, models)
                    raise Mismatch(f"{kind}: no model {name!r} in Arch.models{hint}", where)
                if term.layer is not None and term.layer not in models[name].return_patterns:
                    raise Mismatch(
                        f"{kind}: {term.key!r} is not one of return_patterns of {name}", where
                    )
            if where == "Loss.Eval" and (
                not isinstance(term, DistillationGTCELoss) or set(term.models) != {chosen}
            ):
                raise Mismatch(
                    f"{chosen} (infer_model_name) alone is evaluated: CELoss, or "
                    f"DistillationGTCELoss with model_names: [{chosen}]",
                    "Loss.Eval",
                )
            if unlabeled and isinstance(term, DistillationGTCELoss) and where == "Loss.Train":
                raise Mismatch("DistillationGTCELoss needs labels: UnlabeledDataset", where)
        for metric in metrics:
            if isinstance(metric, DistillationTopkAcc) and metric.model_key != chosen:
                raise Mismatch(
                    f"{chosen} (Arch.infer_model_name) is evaluated, not {metric.model_key!r} "
                    "(model_key)",
                    "Metric",
                )
        if unlabeled and self.Metric.Train:
            raise Mismatch("images without labels have no metrics; set it to null", "Metric.Train")
        return self

    @model_validator(mode="after")
    def _losses_and_metrics_fit_the_labels(self) -> Config:
        for part in ("Train", "Eval"):
            data = getattr(self.DataLoader, part)
            if data is None:
                continue
            several = data.dataset.name == "MultiLabelDataset"
            for section, term in (
                *(("Loss", term) for term in getattr(self.Loss, part)),
                *(("Metric", metric) for metric in getattr(self.Metric, part)),
            ):
                if isinstance(term, (MultiLabelLoss, LabelSetMetric)) != several:
                    raise Mismatch(
                        f"{type(term).__name__} is for images with "
                        f"{'one class' if several else 'several labels'} each, and "
                        f"DataLoader.{part}.dataset is {data.dataset.name}; "
                        f"{_FITTING[section, several]}",
                        f"{section}.{part}",
                        f"DataLoader.{part}.dataset",
                    )
        return self


def required(section: SectionT | None, name: str, command: str) -> SectionT:
    """Return a section of the configuration that a command cannot do without.

    Raises:
        ConfigError: the section is absent.
    """
    if section is None:
        raise ConfigError(f"`{command}` needs the section {name}; it is missing")
    return section
