"""The configuration: every section and key, typed.

Sections and keys are those of PaddleClas 2.x. Reading and checking one does not need Paddle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from ppcls.config.arch import ArchOption
from ppcls.config.checks import check_sections
from ppcls.config.data import DataLoaders
from ppcls.config.sections import LossOptions, MetricOptions
from ppcls.data.transforms.base import Channels
from ppcls.data.transforms.pipeline import Pipeline, TransformList, refuse_random
from ppcls.errors import ConfigError
from ppcls.models.catalogue import model_card
from ppcls.optim.optimizers import OptimizerOption
from ppcls.options import Count, Mismatch, Natural, Options, PathText, Share, Side
from ppcls.plugins import listed
from ppcls.registry import follows_registries
from ppcls.thresholds import Thresholds, thresholds_of

__all__ = ["Config", "Device", "required"]

SectionT = TypeVar("SectionT")


Part = Literal["Train", "Eval", "Infer"]
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


@follows_registries
class Config(Options):
    """A whole configuration. A command reports the sections that it needs and that are missing."""

    Global: GlobalOptions = GlobalOptions()
    AMP: AMPOptions | None = None
    EMA: EMAOptions | None = None
    Arch: ArchOption
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

    def output_shape(self, part: Part) -> list[int]:
        """Return [channels, height, width] of the images that the transforms of a section give.

        Raises:
            ConfigError: there is no such section.
        """
        height, width = self.image_size
        # Larger than the output, so that every transform has an effect.
        return self.pipeline(part).output_shape(height + 40, width + 60)

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
        found = self.output_shape("Infer")
        stated = self.Global.image_shape
        if stated not in (None, found):
            raise ConfigError(
                f"Global.image_shape is {stated}, but the evaluation transforms give {found} "
                "(channels, height, width); make them equal (`size` of a transform is [width, "
                "height]), or set Global.image_size and let the transforms follow it"
            )
        return found

    @model_validator(mode="after")
    def _sections_fit_together(self) -> Config:
        check_sections(self)
        post = self.Infer and self.Infer.PostProcess
        if self.Infer and self.multi_label and isinstance(post, Topk):  # the default
            fitting = MultiLabelThreshOutput(class_id_map_file=post.class_id_map_file)
            infer = self.Infer.model_copy(update={"PostProcess": fitting})
            return self.model_copy(update={"Infer": infer})
        return self

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
