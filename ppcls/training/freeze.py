"""Prepare a model for training: freezing, SyncBatchNorm and gradient checkpointing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

import paddle
from paddle import nn
from paddle.distributed.fleet.utils import recompute

from ppcls.config.schema import ArchOptions
from ppcls.errors import ConfigError, RunError
from ppcls.models.base import ImageClassifier
from ppcls.spelling import did_you_mean

__all__ = [
    "checkpoint_gradients",
    "freeze",
    "norms_of_single_values",
    "prepare_model",
    "set_training",
    "statistics",
]

_BatchNorm = nn.layer.norm._BatchNormBase


def freeze(model: nn.Layer, patterns: Sequence[str]) -> list[str]:
    """Freeze the parameters whose structured names match one of the patterns.

    `*` matches anything, dots included: `base.0.*`. A batch normalisation also keeps its
    statistics if all of its parameters match (see `set_training`).

    Returns:
        A line to show the user for each pattern.

    Raises:
        ConfigError: a pattern matches nothing, or together they leave nothing to train.
    """
    parameters = dict(model.named_parameters())
    notes = []
    for pattern in patterns:
        found = [name for name in parameters if fnmatchcase(name, pattern)]
        if not found:
            inside = [name for name in parameters if name.startswith(f"{pattern}.")]
            hint = f"; did you mean '{pattern}.*'?" if inside else did_you_mean(pattern, parameters)
            raise ConfigError(
                f"Arch.freeze: {pattern!r} matches no parameter{hint or _starts(parameters)}"
            )
        for name in found:
            parameters[name].stop_gradient = True
        count = sum(parameters[name].size for name in found)
        notes.append(f"frozen by {pattern!r}: {len(found)} parameters, {count:,} numbers")
    if all(p.stop_gradient for p in parameters.values()):
        raise ConfigError(f"Arch.freeze: {', '.join(patterns)} leaves nothing to train")
    kept = sum(_is_frozen(layer) for layer in model.sublayers())
    if kept:
        notes.append(f"{kept} frozen batch normalisations keep their statistics")
    return notes


def _starts(names: Any) -> str:
    starts = list(dict.fromkeys(name.partition(".")[0] for name in names))
    more = " …" if len(starts) > 8 else ""
    return f"; names begin with {', '.join(starts[:8])}{more}"


def _is_frozen(layer: nn.Layer) -> bool:
    own = layer.parameters(include_sublayers=False)
    return isinstance(layer, _BatchNorm) and bool(own) and all(p.stop_gradient for p in own)


def statistics(model: nn.Layer) -> list[paddle.Tensor]:
    """Return the running means and variances, which a forward pass in training mode updates.

    They are float32 (C,); Paddle lists them among the parameters, without gradients.
    """
    return [value for value in model.state_dict().values() if value.stop_gradient]


def set_training(model: nn.Layer) -> None:
    """Put a model into training mode, but frozen batch normalisations into evaluation mode."""
    model.train()
    for layer in model.sublayers():
        if _is_frozen(layer):
            layer.eval()


@paddle.no_grad()
def norms_of_single_values(model: nn.Layer, shape: Sequence[int]) -> list[str]:
    """Return the trained batch normalisations that see one value a channel in a batch of one image.

    A single value has no variance: the layer's output is its bias, whatever the image.

    Args:
        model: the model, which is evaluated once.
        shape: [C, H, W] of an image.
    """
    found: list[str] = []

    def look(name: str) -> Any:
        def hook(_layer: nn.Layer, inputs: Any) -> None:
            if inputs[0].size == inputs[0].shape[1]:
                found.append(name)

        return hook

    norms = [
        (name, layer)
        for name, layer in model.named_sublayers()
        if isinstance(layer, _BatchNorm) and not _is_frozen(layer)
    ]
    hooks = [layer.register_forward_pre_hook(look(name)) for name, layer in norms]
    was_training = model.training
    model.eval()
    model(paddle.zeros([1, *shape]))
    if was_training:
        model.train()
    for hook in hooks:
        hook.remove()
    return list(dict.fromkeys(found))


@contextmanager
def _still_statistics(layer: nn.Layer) -> Iterator[None]:
    """Let batch normalisations compute as in training without updating their statistics."""
    norms = [part for part in layer.sublayers(include_self=True) if isinstance(part, _BatchNorm)]
    momenta = [norm._momentum for norm in norms]
    for norm in norms:
        norm._momentum = 1.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm._momentum = momentum


def _recomputed(layer: nn.Layer, forward: Callable[..., Any]) -> Callable[..., Any]:
    def call(x: paddle.Tensor) -> paddle.Tensor:
        if not layer.training or not paddle.is_grad_enabled() or x.stop_gradient:
            return forward(x)
        first = True

        def run(x: paddle.Tensor) -> paddle.Tensor:
            nonlocal first
            if first:
                first = False
                return forward(x)
            # The second pass must not count the batch twice.
            with _still_statistics(layer):
                return forward(x)

        return recompute(run, x)

    return call


def checkpoint_gradients(model: ImageClassifier) -> None:
    """Let the model's blocks store only their inputs and recompute the rest in the backward pass.

    https://arxiv.org/abs/1707.06990 (memory-efficient DenseNets). The results are the same.

    Raises:
        ConfigError: the family declares no block for it.
    """
    if model.checkpointed is None:
        raise ConfigError(
            f"Arch.grad_checkpointing: {model.name} does not support it; the families "
            "DenseNet, HarDNet and DPN do"
        )
    for layer in model.sublayers():
        if isinstance(layer, model.checkpointed):
            setattr(layer, "forward", _recomputed(layer, layer.forward))  # noqa: B010


def prepare_model(model: ImageClassifier, options: ArchOptions, device: str) -> list[str]:
    """Apply the training options of `Arch` to a model; return the lines to show the user.

    Raises:
        ConfigError: a pattern of `freeze` matches nothing, or the architecture does not support
            gradient checkpointing.
        RunError: SyncBatchNorm on a CPU.
    """
    if options.use_sync_bn:
        if device == "cpu":
            raise RunError(
                "Arch.use_sync_bn is on, but Paddle has no SyncBatchNorm for the CPU; use "
                "-o Arch.use_sync_bn=false (or in its entry of Arch.models)"
            )
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
    notes = freeze(model, options.freeze) if options.freeze else []
    if options.grad_checkpointing:
        checkpoint_gradients(model)
    return notes
