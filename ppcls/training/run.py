"""Builds a run from a configuration: data, model, optimizer, and the state of a checkpoint.

Nothing is written here, so that errors are found before a run leaves any file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import paddle
from paddle import nn

from ppcls import distributed
from ppcls.checkpoints.files import Checkpoint
from ppcls.checkpoints.records import SamplesRecord
from ppcls.checkpoints.run_folder import run_folder
from ppcls.checkpoints.weights import build_model, find_checkpoint, start_weights
from ppcls.config import Config, dump_config, required
from ppcls.config.class_names import label_names, resolve_classes
from ppcls.config.data import EvalData, TrainData, refuse_below_images
from ppcls.config.from_checkpoint import RUN_CONFIG
from ppcls.config.schema import DistillationArch, MultiLabelThreshOutput, Part
from ppcls.data.datasets import Dataset
from ppcls.data.loader import Loader
from ppcls.data.tools.check import coverage, quick_check
from ppcls.data.transforms.normalize import NormalizeImage
from ppcls.devices import seed_everything
from ppcls.distributed import on_device
from ppcls.errors import ConfigError
from ppcls.evaluation.evaluate import evaluate_model, topk_note
from ppcls.evaluation.results import Evaluation
from ppcls.losses.base import LossFunction, weighted_sum
from ppcls.metrics.base import parts_of
from ppcls.models.base import ImageClassifier
from ppcls.models.normalize import Normalize
from ppcls.models.weights import load_weights
from ppcls.optim.optimizers import Optimizer
from ppcls.optim.schedules import Schedule
from ppcls.printable import counted
from ppcls.spelling import names_options
from ppcls.training.distillation_model import DistillationModel, build_distillation
from ppcls.training.ema import WeightAverage
from ppcls.training.freeze import norms_of_single_values, prepare_model
from ppcls.training.objective import Distilled, Objective, Supervised
from ppcls.training.precision import Precision
from ppcls.training.resume import (
    changed_samples,
    changed_settings,
    check_place,
    is_finished,
    record_samples,
)
from ppcls.training.state import TrainState

__all__ = [
    "Run",
    "RunData",
    "build_run",
    "deployed_model",
    "open_data",
    "open_run_data",
    "refuse_output_among_images",
]

# The running statistics of batch normalisations alone need tens of updates to be useful.
_FEW_UPDATES, _SMALLEST_BATCH = 100, 4


@dataclass(frozen=True)
class RunData:
    """The data and the device of a run.

    Attributes:
        config: the configuration, with the number of classes of the data sets.
        device: the kind of Paddle's current device.
        train: the loader of the training set.
        eval: the loader of the validation set; None if the run does not evaluate.
        labels: the names of the classes.
        optimizer: the section `Optimizer`.
        notes: warnings about the data to show the user.
    """

    config: Config
    device: str
    train: Loader
    eval: Loader | None
    labels: list[str]
    optimizer: Optimizer
    notes: Sequence[str] = ()

    @property
    def steps(self) -> int:
        """Updates an epoch."""
        return -(-len(self.train) // self.config.Global.update_freq)

    def summary(self) -> str:
        """Return a one-line summary of model, device and data."""
        arch, processes = self.config.Arch, distributed.world_size()
        together = f" x {processes}" if processes > 1 else ""
        return (
            f"{arch.name}, {counted(arch.class_num, 'class', 'classes')}, on "
            f"{self.device}{together}: {counted(len(self.train.dataset), 'image')}, "
            f"{counted(len(self.train), 'batch', 'batches')} an epoch"
        )


@names_options
@contextmanager
def open_data(config: Config) -> Iterator[RunData]:
    """Open the data of a configuration for a training loop of your own; the context closes it.

    This makes `Global.device` Paddle's current device, checks the image lists, and shares the
    batches among the processes of `paddle.distributed.launch`. `data.train` and `data.eval` are
    loaders: `for batch in data.train.epoch(1)` yields batches with `images`, uint8 (N, H, W, C),
    and `labels`, int64 (N,); `Normalize(data.train.affine)` turns images into the model's input.

    Raises:
        ConfigError, DataError, RunError: as `train`.
    """
    with on_device(config.Global.device) as device, ExitStack() as stack:
        yield open_run_data(config, device, stack)


def open_run_data(config: Config, device: str, stack: ExitStack) -> RunData:
    """Check the image lists of a run and open its loaders.

    Args:
        config: the configuration of the run.
        device: the kind of Paddle's current device (see `on_device`).
        stack: closes the loaders.

    Raises:
        ConfigError: a section is missing, or the processes have different configurations.
        DataError: a list, a label, the class names or an image is wrong.
    """
    config = resolve_classes(config)
    options, class_num = config.Global, config.Arch.class_num
    digest = hashlib.sha256(dump_config(config).encode()).hexdigest()
    distributed.check_same(digest, "the configuration")
    train = required(config.DataLoader.Train, "DataLoader.Train", "ppcls train")
    optimizer = required(config.Optimizer, "Optimizer", "ppcls train")
    parts: dict[Part, TrainData | EvalData] = {"Train": train}
    if options.eval_during_train:
        needed = "DataLoader.Eval (or Global.eval_during_train=false)"
        parts["Eval"] = required(config.DataLoader.Eval, needed, "ppcls train")
    datasets: dict[str, Dataset] = {name: part.dataset for name, part in parts.items()}
    samples = quick_check(datasets, class_num, config.in_channels)
    # Wrong class names would otherwise be found only when the trained model is exported.
    labels = label_names(config)
    data_notes = [f"warning: {note}" for note in coverage(samples, class_num, labels)]
    ranks = distributed.rank(), distributed.world_size()
    loaders = {}
    for name, part in parts.items():
        images = part.dataset.images(samples[name], config.pipeline(name), options.seed)
        loader = Loader(images, part.sampler, part.loader.num_workers, *ranks)
        loaders[name] = stack.enter_context(loader)
    loader, eval_loader = loaders["Train"], loaders.get("Eval")
    return RunData(config, device, loader, eval_loader, labels, optimizer, data_notes)


def refuse_output_among_images(data: RunData) -> None:
    """Stop before a new run writes among the images of its data sets.

    Raises:
        ConfigError: the run's folder is below a folder of images.
    """
    folder = run_folder(data.config).path
    if not (folder / RUN_CONFIG).is_file():
        samples = chain(*(part.dataset.samples for part in (data.train, data.eval) if part))
        refuse_below_images(folder, data.config.DataLoader, [*samples])


@dataclass(frozen=True)
class Run:
    """A run that is ready to start.

    Attributes:
        config: the configuration (see `RunData`).
        loader: the loader of the training set.
        schedule: the learning rate schedule.
        state: model, optimizer and all other state; restored from the checkpoint, if any.
        objective: computes the loss of a batch.
        evaluate: evaluates the model; None if the run does not evaluate.
        checkpoint: the checkpoint to resume from.
        finished: whether that checkpoint completes the run.
        notes: lines to show the user.
        warnings: those of them to show again at the end.
    """

    config: Config
    loader: Loader
    schedule: Schedule
    state: TrainState
    objective: Objective
    evaluate: Callable[[], Evaluation] | None
    checkpoint: Checkpoint | None
    finished: bool
    notes: list[str]
    warnings: list[str]


def build_run(
    data: RunData, model: nn.Layer | None = None, loss: LossFunction | None = None
) -> Run:
    """Build the model and the optimizer of a run, and restore them from its checkpoint, if any.

    Args:
        data: the data of the run.
        model: a model with its weights, to train instead of the architecture of `Arch`.
        loss: the loss to minimise instead of `Loss.Train`.

    Raises:
        ConfigError: no epoch is left to train, or the schedule does not fit the run.
        WeightsError: the pretrained weights are not available, or are made for another model.
        DataError: the checkpoint has other class names.
    """
    config, options = data.config, data.config.Global
    precision = Precision(config.AMP, data.device)
    seed_everything(options.seed)
    checkpoint, found = find_checkpoint(config)
    notes = [*config.notes, *found]
    if checkpoint:
        notes += changed_settings(config, data.labels, data.device, checkpoint)
    notes += precision.notes
    finished = checkpoint is not None and is_finished(config, checkpoint)
    changed: list[str] = []
    if model is None:
        model, more = _build_model(config, data.device, checkpoint)
    else:
        model, more = _given_model(model, config, data.device)
    notes += more
    joint_batch = data.train.sampler.batch_size * distributed.world_size() * options.update_freq
    schedule, fit = data.optimizer.lr.fitted(joint_batch)
    notes += [fit] if fit else []
    # Report a run too short for its schedule now, not when the first epoch starts.
    schedule.curve(options.epochs, data.steps)
    optimizer = precision.decorate(model, data.optimizer.build(model))
    state = TrainState(model, optimizer, precision, None)
    state.samples = _sample_records(data)
    if checkpoint:
        notes += state.load_model(checkpoint, options.strict)
    if config.EMA:
        state.average = WeightAverage(model, config.EMA.decay)
    if checkpoint:
        known = state.load(checkpoint)
        metrics = [m.key for m in parts_of(config.Metric.Train, config.Arch.class_num)]
        changed = changed_samples(known, state.samples, checkpoint)
        check_place(state.progress, checkpoint, data.steps, metrics)
        notes += changed
        step = f", step {checkpoint.step} of the next" if checkpoint.step else ""
        notes.append(f"resuming {checkpoint.prefix} after epoch {checkpoint.epoch}{step}")
    with precision.evaluating():
        notes += _single_values_note(data, model)
    distributed.broadcast(model.state_dict().values())
    if not (checkpoint or options.pretrained_model or config.Arch.pretrained):
        notes += _length_note(data)
    notes += [
        *data.notes,
        *topk_note(config),
        *_channel_notes(config),
        *_size_notes(config, data),
        *_export_notes(config, data),
    ]
    evaluate = None
    if data.eval is not None:
        deployed, eval_loader = config.deployed(), data.eval
        kept = deployed_model(config, model)

        def evaluate() -> Evaluation:
            return evaluate_model(kept, eval_loader, deployed, data.labels)

    objective = _build_objective(config, model, data.train, loss)
    return Run(
        config,
        data.train,
        schedule,
        state,
        objective,
        evaluate,
        checkpoint,
        finished,
        notes,
        changed,
    )


def _sample_records(data: RunData) -> dict[str, SamplesRecord]:
    loaders, parts = {"Train": data.train, "Eval": data.eval}, data.config.DataLoader
    return {
        name: record_samples(loader.dataset.samples, getattr(parts, name).dataset.image_root)
        for name, loader in loaders.items()
        if loader is not None
    }


def _single_values_note(data: RunData, model: nn.Layer) -> list[str]:
    """Refuse batches of one image, and warn of a last one, that batch normalisation cannot train.

    Raises:
        ConfigError: every batch has one image, and feature maps are 1x1.
    """
    world_size = distributed.world_size()
    places = data.train.sampler.places(data.train.drawn, 0, world_size)
    sizes = {len(batch) for batch in places}
    if 1 not in sizes or (data.config.Arch.use_sync_bn and world_size > 1):
        return []
    height, width = data.config.image_size
    # Larger than the output, so that every transform has an effect.
    shape = data.train.dataset.pipeline.output_shape(height + 40, width + 60)
    norms = norms_of_single_values(model, shape)
    if not norms:
        return []
    what = (
        f"{len(norms)} batch normalisations (such as {norms[0]}) see 1x1 feature maps of images of "
        f"{shape[2]}x{shape[1]}: the single value of one image has no variance"
    )
    if sizes == {1}:
        raise ConfigError(
            f"DataLoader.Train: batches of one image, in which {what}; use a larger "
            "sampler.batch_size, or larger images (Global.image_size)"
        )
    return [
        f"warning: the last batch of an epoch has one image, in which {what}; "
        "-o DataLoader.Train.sampler.drop_last=true leaves it out"
    ]


def _length_note(data: RunData) -> list[str]:
    """Warn of a run from scratch with too few updates to learn anything."""
    epochs, sampler = data.config.Global.epochs, data.train.sampler
    if data.steps * epochs >= _FEW_UPDATES or sampler.batch_size <= _SMALLEST_BATCH:
        return []
    size = max(_SMALLEST_BATCH, sampler.batch_size * data.steps * epochs // _FEW_UPDATES)
    return [
        f"warning: {counted(data.steps * epochs, 'update')} in all ({data.steps} an epoch) are too "
        "few to train from scratch; use a smaller batch "
        f"(-o DataLoader.Train.sampler.batch_size={size}) or pretrained weights"
    ]


def _size_notes(config: Config, data: RunData) -> list[str]:
    """Say that training and evaluation see images of different sizes."""
    if data.eval is None:
        return []
    height, width = (side + 60 for side in config.image_size)  # so that crops find enough
    shapes = [config.pipeline(part).output_shape(height, width) for part in ("Train", "Eval")]
    if shapes[0] == shapes[1]:
        return []
    train, evaluated = (f"height {shape[1]} and width {shape[2]}" for shape in shapes)
    return [
        f"warning: training sees images of {train}, the evaluation of {evaluated}; if that is not "
        "meant, set Global.image_size and let the transforms follow it"
    ]


def _channel_notes(config: Config) -> list[str]:
    """Report a normalisation for RGB that is used for other channels."""
    ops = [op for op in config.transforms("Train") or () if isinstance(op, NormalizeImage)]
    channels = config.in_channels
    if channels == 3 or not ops or 3 not in (len(ops[0].mean), len(ops[0].std)):
        return []
    used = ops[0].for_channels(channels)
    each = "the channel has" if channels == 1 else f"all {channels} channels have"
    return [
        f"NormalizeImage has values for RGB; {each} their average, mean {used.mean[0]:g} and std "
        f"{used.std[0]:g}. Better values are those of your images: one for each channel"
    ]


def _export_notes(config: Config, data: RunData) -> list[str]:
    """Warn of conflicting sections that would prevent the export of the trained model."""
    if config.Infer is None:
        return []
    notes = []
    checks = [config.input_shape, config.inference_pipeline]
    if isinstance(config.Infer.PostProcess, MultiLabelThreshOutput):
        checks.append(partial(config.Infer.PostProcess.thresholds, data.labels))
    for check in checks:
        try:
            check()
        except ConfigError as error:
            notes.append(f"warning: `ppcls export` will refuse this: {error}")
    return notes


def deployed_model(config: Config, model: ImageClassifier) -> ImageClassifier:
    """Return the model to evaluate and deploy: the student of a distillation."""
    return getattr(model, config.Arch.student) if config.Arch.student else model


def _build_model(
    config: Config, device: str, checkpoint: Checkpoint | None
) -> tuple[ImageClassifier, list[str]]:
    """Return the model with its pretrained weights, and the lines to show the user.

    A checkpoint's weights are loaded later, with its other contents.
    """
    if isinstance(config.Arch, DistillationArch):
        if config.Global.pretrained_model:
            raise ConfigError(
                "Global.pretrained_model: in a distillation, name the pretrained weights of each "
                "model in Arch.models"
            )
        resumes = checkpoint is not None
        return build_distillation(config.Arch, device, resumes, config.in_channels)
    weights, notes = start_weights(config, checkpoint)
    model = build_model(config)
    notes += prepare_model(model, config.Arch, device)
    if checkpoint is None:
        notes.append(f"pretrained weights: {weights or 'none, training from scratch'}")
        if weights:
            notes += load_weights(model, weights, adapt=True, strict=config.Global.strict)
    return model, notes


def _given_model(model: nn.Layer, config: Config, device: str) -> tuple[ImageClassifier, list[str]]:
    """Add the attributes that a run needs to a user's model; return lines to show, too."""
    if not isinstance(model, nn.Layer):
        raise ConfigError(f"train: model must be a paddle.nn.Layer, not {model!r}")
    named = {
        "Global.pretrained_model": config.Global.pretrained_model,
        "Arch.pretrained": config.Arch.pretrained,
        "Arch.name: DistillationModel": config.Arch.student,
    }
    for key, value in named.items():
        if value:
            raise ConfigError(f"train: a given model is trained as it is; leave out {key}")
    defaults = {"name": type(model).__name__, "head": "", "first_conv": "", "checkpointed": None}
    for key, value in defaults.items():
        if not hasattr(model, key):
            setattr(model, key, value)
    given: Any = model
    return given, prepare_model(given, config.Arch, device)


def _build_objective(
    config: Config, model: ImageClassifier, loader: Loader, given: LossFunction | None
) -> Objective:
    train = config.DataLoader.Train
    assert train is not None
    loss: Any = given or weighted_sum(config.Loss.Train, loader.dataset.samples)
    normalize, class_num = Normalize(loader.affine), config.Arch.class_num
    mixing: Any = train.dataset.batch_transform_ops
    if isinstance(model, DistillationModel):
        return Distilled(model, loss, normalize, mixing, class_num)
    forward = paddle.jit.to_static(model, full_graph=True) if config.Global.to_static else model
    return Supervised(forward, loss, normalize, mixing, class_num)
