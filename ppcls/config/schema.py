"""The configuration: every section and key, typed.

Sections and keys are those of PaddleClas 2.x. Paddle is not needed to read or check one.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from ppcls.cards import list_models, model_card
from ppcls.config.dataloader import DataLoaders, check_pipeline, refuse_random
from ppcls.config.loss import LossOptions, MultiLabelLoss
from ppcls.config.metric import LabelSetMetric, MetricOptions
from ppcls.config.optimizer import OptimizerOptions, ReduceOnPlateau
from ppcls.config.types import Count, PathText, Share
from ppcls.data.transforms import TransformOp
from ppcls.errors import did_you_mean
from ppcls.options import Options

__all__ = ["Config"]


class GlobalOptions(Options):
    """What holds for a whole run.

    Attributes:
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
        log_format: the lines of the log as PaddleClas 2.x writes them, or 2.0 (`flat`).
        checkpoint_layout: `best_model.pdparams`, or `best_model/ppcls.pdparams` (`flat`), where
            `epoch_1` is `0/ppcls`.
        total_images: how many images the training list should have; another number is said.
        last_epoch: the last complete epoch, from 0, of a `checkpoints` that does not say it.
    """

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
    log_format: Literal["sectioned", "flat"] = "sectioned"
    checkpoint_layout: Literal["sectioned", "flat"] = "sectioned"
    total_images: Count | None = None
    last_epoch: Annotated[int, Field(ge=0)] | None = None
    image_shape: Annotated[list[Count], Field(min_length=3, max_length=3)] = [3, 224, 224]
    save_inference_dir: PathText = "./inference"


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


class Topk(Options):
    """The `topk` best classes of an image, named by the lines `label name` of a file."""

    name: Literal["Topk"] = "Topk"
    topk: Count = 5
    class_id_map_file: PathText | None = None


class InferOptions(Options):
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


_FITTING = {
    ("Loss", False): "CELoss and FocalLoss fit",
    ("Loss", True): "MultiLabelLoss fits",
    ("Metric", False): "TopkAcc fits",
    ("Metric", True): "AccuracyScore, HammingDistance and MultiLabelMAP fit",
}


class Config(Options):
    """A whole configuration. Sections that a command needs and lacks are named by that command."""

    Global: GlobalOptions = GlobalOptions()
    AMP: AMPOptions | None = None
    EMA: EMAOptions | None = None
    Arch: ArchOptions
    Loss: LossOptions = LossOptions()
    Optimizer: OptimizerOptions | None = None
    DataLoader: DataLoaders = DataLoaders()
    Infer: InferOptions | None = None
    Metric: MetricOptions = MetricOptions()

    @model_validator(mode="after")
    def _schedule_fits_the_run(self) -> Config:
        if self.Optimizer is None:
            return self
        lr = self.Optimizer.lr
        if lr.warmup_epoch >= self.Global.epochs:
            raise ValueError(
                f"Optimizer.lr.warmup_epoch ({lr.warmup_epoch}) leaves nothing of "
                f"Global.epochs ({self.Global.epochs})"
            )
        for key in ("decay_epochs", "milestones"):
            last = max(getattr(lr, key, [0]))
            if lr.warmup_epoch + last >= self.Global.epochs:
                warmup = f" and warmup_epoch ({lr.warmup_epoch})" if lr.warmup_epoch else ""
                raise ValueError(
                    f"Optimizer.lr.{key} ({last}){warmup} is not within Global.epochs "
                    f"({self.Global.epochs})"
                )
        if isinstance(lr, ReduceOnPlateau) and not self.Global.eval_during_train:
            raise ValueError(
                "Optimizer.lr.name: ReduceOnPlateau watches the evaluations, which "
                "Global.eval_during_train: false leaves out"
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
                        raise ValueError(
                            f"Loss.{section}.{i}.{type(term).__name__}.{key} has {len(weights)} "
                            f"entries; Arch.class_num is {classes}"
                        )
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
                    raise ValueError(
                        f"{section}.{part}: {type(term).__name__} is for images with "
                        f"{'one class' if several else 'several labels'} each, and "
                        f"DataLoader.{part}.dataset is {data.dataset.name}; "
                        f"{_FITTING[section, several]}"
                    )
        return self
