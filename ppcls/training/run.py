"""From a configuration to a run that could begin: data, model, optimizer, and where they stand.

Nothing is written here, so that all that can be wrong is found before a run has left anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import paddle
from paddle import nn

from ppcls import distributed
from ppcls.checkpoints.files import Checkpoint
from ppcls.checkpoints.weights import build_model, find_checkpoint, start_weights
from ppcls.config import Config, dump_config, required
from ppcls.config.class_names import label_names, resolve_classes
from ppcls.config.data import EvalData, TrainData
from ppcls.config.schema import DistillationArch, Part
from ppcls.data.loader import Loader
from ppcls.data.tools.check import quick_check
from ppcls.devices import seed_everything
from ppcls.distributed import on_device
from ppcls.errors import ConfigError
from ppcls.evaluation.evaluate import evaluate_model, topk_note
from ppcls.evaluation.results import Evaluation
from ppcls.losses.base import LossFunction, weighted_sum
from ppcls.models.base import ImageClassifier
from ppcls.models.normalize import Normalize
from ppcls.models.weights import load_weights
from ppcls.optim.optimizers import Optimizer
from ppcls.optim.schedules import Schedule
from ppcls.training.distillation_model import DistillationModel, build_distillation
from ppcls.training.ema import WeightAverage
from ppcls.training.freeze import prepare_model
from ppcls.training.objective import Distilled, Objective, Supervised
from ppcls.training.precision import Precision
from ppcls.training.resume import changed_settings, is_finished
from ppcls.training.state import TrainState

__all__ = ["Run", "RunData", "build_run", "deployed_model", "open_data", "open_run_data"]

# The running statistics of batch norms alone need tens of updates to be of any use.
_FEW_UPDATES, _SMALLEST_BATCH = 100, 4


@dataclass(frozen=True)
class RunData:
    """What a run reads, and on what it computes.

    Attributes:
        config: with the number of classes that the data sets have.
        device: Paddle's current one.
        train: the batches to train on.
        eval: those to evaluate on; None where the run does not evaluate.
        labels: the names of the classes.
        optimizer: the section.
    """

    config: Config
    device: str
    train: Loader
    eval: Loader | None
    labels: list[str]
    optimizer: Optimizer

    @property
    def steps(self) -> int:
        """Updates an epoch."""
        return -(-len(self.train) // self.config.Global.update_freq)

    def summary(self) -> str:
        """Return in a few words what is trained on what."""
        arch, processes = self.config.Arch, distributed.world_size()
        batches = len(self.train)
        together = f" x {processes}" if processes > 1 else ""
        return (
            f"{arch.name}, {arch.class_num} classes, on {self.device}{together}: "
            f"{len(self.train.dataset)} images, {batches} batch{'es' * (batches > 1)} an epoch"
        )


@contextmanager
def open_data(config: Config) -> Iterator[RunData]:
    """Open the data of a configuration, for a training loop of your own; closed with the context.

    `Global.device` becomes Paddle's current device, the lists are checked, and the processes of
    `paddle.distributed.launch` share the batches. `data.train` and `data.eval` are loaders: `for
    batch in data.train.epoch(1)` gives batches with `images`, uint8 (N, H, W, 3), and `labels`,
    int64 (N,); `Normalize(data.train.affine)` makes them the model's input.

    Raises:
        ConfigError, DataError, RunError: as `train`.
    """
    with on_device(config.Global.device) as device, ExitStack() as stack:
        yield open_run_data(config, device, stack)


def open_run_data(config: Config, device: str, stack: ExitStack) -> RunData:
    """Check the lists of a run and open its loaders, which the stack closes.

    Args:
        config: of the run.
        device: Paddle's current one (see `on_device`).
        stack: closes the loaders.

    Raises:
        ConfigError: a section is missing, or the processes of the run have different ones.
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
    samples = quick_check({name: part.dataset for name, part in parts.items()}, class_num)
    ranks = distributed.rank(), distributed.world_size()
    loaders = {}
    for name, part in parts.items():
        images = part.dataset.images(samples[name], config.pipeline(name), options.seed)
        loader = Loader(images, part.sampler, part.loader.num_workers, *ranks)
        loaders[name] = stack.enter_context(loader)
    # Wrong class names would otherwise come to light when the trained model is exported.
    labels = label_names(config)
    return RunData(config, device, loaders["Train"], loaders.get("Eval"), labels, optimizer)


@dataclass(frozen=True)
class Run:
    """A run that could begin.

    Attributes:
        config: as it is in `RunData`.
        loader: the batches to train on.
        schedule: of the learning rate.
        state: model, optimizer and all else that changes; where the checkpoint was made, if any.
        objective: how a batch becomes a loss.
        evaluate: evaluates the model; None where the run does not evaluate.
        checkpoint: the one to go on from.
        finished: nothing is left to do after it.
        notes: what to tell the user.
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


def build_run(
    data: RunData, model: nn.Layer | None = None, loss: LossFunction | None = None
) -> Run:
    """Build the model and the optimizer of a run, and put them where its checkpoint was made.

    Args:
        data: of the run.
        model: what to train, with its weights, instead of the architecture of `Arch`.
        loss: what to minimise, instead of `Loss.Train`.

    Raises:
        ConfigError: there is no epoch left to go on with, or the schedule does not fit the run.
        WeightsError: the weights to start from cannot be had, or are made for another model.
        DataError: the checkpoint knows its classes by other names.
    """
    config, options = data.config, data.config.Global
    precision = Precision(config.AMP, data.device)
    seed_everything(options.seed)
    checkpoint, notes = find_checkpoint(config)
    if checkpoint:
        notes += changed_settings(config, data.labels, data.device, checkpoint)
    finished = checkpoint is not None and is_finished(config, checkpoint)
    if model is None:
        model, more = _build_model(config, data.device, checkpoint)
    else:
        model, more = _given_model(model, config, data.device)
    notes += more
    joint_batch = data.train.sampler.batch_size * distributed.world_size() * options.update_freq
    schedule, fit = data.optimizer.lr.fitted(joint_batch)
    notes += [fit] if fit else []
    # A run too short for its schedule must not end only when the first epoch begins.
    schedule.curve(options.epochs, data.steps)
    optimizer = precision.decorate(model, data.optimizer.build(model))
    state = TrainState(model, optimizer, precision, None)
    if checkpoint:
        notes += state.load_model(checkpoint, options.strict)
    if config.EMA:
        state.average = WeightAverage(model, config.EMA.decay)
    if checkpoint:
        state.load(checkpoint)
        step = f", step {checkpoint.step} of the next" if checkpoint.step else ""
        notes.append(f"resuming {checkpoint.prefix} after epoch {checkpoint.epoch}{step}")
    distributed.broadcast(model.state_dict().values())
    if not (checkpoint or options.pretrained_model or config.Arch.pretrained):
        notes += _length_note(data)
    notes += topk_note(config) + _export_notes(config, data)
    evaluate = None
    if data.eval is not None:
        deployed, eval_loader = config.deployed(), data.eval
        kept = deployed_model(config, model)

        def evaluate() -> Evaluation:
            return evaluate_model(kept, eval_loader, deployed, data.labels)

    objective = _build_objective(config, model, data.train, loss)
    return Run(
        config, data.train, schedule, state, objective, evaluate, checkpoint, finished, notes
    )


def _length_note(data: RunData) -> list[str]:
    """Say where a run from scratch is too short to come to anything."""
    epochs, sampler = data.config.Global.epochs, data.train.sampler
    if data.steps * epochs >= _FEW_UPDATES or sampler.batch_size <= _SMALLEST_BATCH:
        return []
    size = max(_SMALLEST_BATCH, sampler.batch_size * data.steps * epochs // _FEW_UPDATES)
    return [
        f"warning: {data.steps * epochs} updates in all ({data.steps} an epoch) are few for a "
        f"network that knows nothing yet; -o DataLoader.Train.sampler.batch_size={size} makes more "
        "of them, weights to start from need fewer"
    ]


def _export_notes(config: Config, data: RunData) -> list[str]:
    """Say where the trained model could not be exported, because two sections disagree."""
    if config.Infer is None:
        return []
    notes = []
    try:
        config.input_shape()
    except ConfigError as error:
        notes.append(f"warning: `ppcls export` will refuse this: {error}")
    if data.eval and not config.pipeline("Infer").gives_same(data.eval.dataset.pipeline):
        notes.append(
            "warning: Infer.transforms differ from DataLoader.Eval.dataset.transform_ops: `ppcls "
            "export` refuses that, because what is exported must be what was evaluated; leave "
            "Infer.transforms out"
        )
    return notes


def deployed_model(config: Config, model: ImageClassifier) -> ImageClassifier:
    """Return the model that is evaluated and deployed: of a distillation, one of several."""
    return getattr(model, config.Arch.student) if config.Arch.student else model


def _build_model(
    config: Config, device: str, checkpoint: Checkpoint | None
) -> tuple[ImageClassifier, list[str]]:
    """Return the model with the weights it starts from, and what to tell the user.

    The weights of a checkpoint are loaded later, with all else that it holds.
    """
    if isinstance(config.Arch, DistillationArch):
        if config.Global.pretrained_model:
            raise ConfigError(
                "Global.pretrained_model: of a distillation, each model of Arch.models names "
                "the weights that it starts from"
            )
        return build_distillation(config.Arch, device, resumes=checkpoint is not None)
    weights, notes = start_weights(config, checkpoint)
    model = build_model(config)
    notes += prepare_model(model, config.Arch, device)
    if checkpoint is None:
        notes.append(f"weights to begin with: {weights or 'none, from scratch'}")
        if weights:
            notes += load_weights(model, weights, adapt=True, strict=config.Global.strict)
    return model, notes


def _given_model(model: nn.Layer, config: Config, device: str) -> tuple[ImageClassifier, list[str]]:
    """Return a model of the user's with what a run asks of one, and what to tell the user."""
    if not isinstance(model, nn.Layer):
        raise ConfigError(f"train: model is a paddle.nn.Layer, not {model!r}")
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
