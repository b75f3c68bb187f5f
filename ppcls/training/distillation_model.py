"""Distillation: several models in one, and the losses between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from ppcls.config.schema import DistillationArch
from ppcls.errors import ConfigError, did_you_mean
from ppcls.losses.build import build_loss
from ppcls.losses.options import (
    CELoss,
    DistillationCELoss,
    DistillationDistanceLoss,
    DistillationDMLLoss,
    DistillationGTCELoss,
    DistillationKLDivLoss,
    DistillationLoss,
)
from ppcls.models.base import ImageClassifier
from ppcls.models.catalogue import model_card
from ppcls.models.registry import create_model
from ppcls.models.weights import load_weights, locate_weights
from ppcls.training.freeze import prepare_model

__all__ = ["DistillationModel", "build_distillation", "build_distillation_loss"]

Outputs = Mapping[str, Mapping[str | None, Tensor]]
"""By model and layer: the outputs for a batch. The layer None stands for the logits (N, C)."""


class DistillationModel(ImageClassifier):
    """Models by name, each a sub-layer of that name: `Student.conv.weight` in a state_dict.

    Args:
        models: by name.
        frozen: the names of those that are not trained: they stay in evaluation mode.
        layers: by model, the names of the sub-layers whose outputs are wanted.

    Raises:
        ConfigError: a model has no such sub-layer.
    """

    def __init__(
        self,
        models: Mapping[str, ImageClassifier],
        frozen: set[str],
        layers: Mapping[str, Sequence[str]],
    ):
        super().__init__()
        self.name, self.head, self.first_conv = "DistillationModel", "", ""
        self.frozen = frozen
        self._models = dict(models)
        self._kept: dict[str, dict[str | None, Tensor]] = {name: {} for name in models}
        for name, model in models.items():
            self.add_sublayer(name, model)
            if name in frozen:
                for parameter in model.parameters():
                    parameter.stop_gradient = True
            inner = dict(model.named_sublayers())
            for layer in layers.get(name, ()):
                if layer not in inner:
                    raise ConfigError(
                        f"Arch.models: {name}: return_patterns: {model.name} has no layer "
                        f"{layer!r}{did_you_mean(layer, inner)}"
                    )
                inner[layer].register_forward_post_hook(self._keep(name, layer))

    def _keep(self, name: str, layer: str) -> Callable[[nn.Layer, Tensor, Tensor], Tensor]:
        def hook(_layer: nn.Layer, _inputs: Tensor, output: Tensor) -> Tensor:
            self._kept[name][layer] = output
            return output

        return hook

    def train(self, mode: bool = True) -> DistillationModel:
        """Put the models that learn into training mode, and the others into evaluation mode."""
        super().train() if mode else super().eval()
        for name in self.frozen:
            self._models[name].eval()
        return self

    def outputs(self, images: Tensor) -> Outputs:
        """Map float32 images (N, C, H, W) to all models' logits (N, class_num) and outputs."""
        found: dict[str, dict[str | None, Tensor]] = {}
        for name, model in self._models.items():
            with paddle.set_grad_enabled(name not in self.frozen):
                logits = model(images)
            found[name] = {**self._kept[name], None: logits}
            # Nothing is held on to once the loss is computed.
            self._kept[name].clear()
        return found

    def forward(self, x: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        """Map float32 images (N, C, H, W) to the logits (N, class_num) of every model."""
        return {name: outputs[None] for name, outputs in self.outputs(x).items()}


def build_distillation(
    arch: DistillationArch, device: str, resumes: bool = False
) -> tuple[DistillationModel, list[str]]:
    """Build the models of a distillation with the weights they start from.

    Args:
        arch: the section.
        device: Paddle's current one.
        resumes: leave out the weights, because those of a checkpoint follow, which has all models.

    Returns:
        The models in one, and what to tell the user.

    Raises:
        ConfigError: a model cannot be prepared as its options say, or a frozen one has no weights.
        WeightsError: weights cannot be had, or are made for another model.
    """
    given = arch.pretrained_list or [None] * len(arch.models)
    models, notes = {}, []
    for (name, options), path in zip(arch.by_name.items(), given, strict=True):
        model = create_model(options.name, class_num=options.class_num, dropout=options.dropout)
        pretrained = path or ("ssld" if options.use_ssld else options.pretrained)
        if name in arch.frozen and not (pretrained or resumes):
            raise ConfigError(
                f"Arch.models: {name} is frozen and has no weights, so there is nothing to learn "
                f"from it; Arch.models.N.{name}.pretrained or Arch.pretrained_list names some"
            )
        found = prepare_model(model, options, device)
        if pretrained and not resumes:
            weights = locate_weights(model_card(options.name), pretrained)
            found += load_weights(model, weights, adapt=name not in arch.frozen)
        notes += [f"{name}: {note}" for note in found]
        start = f"from {pretrained}" if pretrained else "from scratch"
        notes.append(
            f"{name}: {options.name}, {'frozen, ' if name in arch.frozen else ''}"
            f"{'from the checkpoint' if resumes else start}"
        )
        models[name] = model
    layers = {name: options.return_patterns for name, options in arch.by_name.items()}
    return DistillationModel(models, arch.frozen, layers), notes


def _kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Return the mean over images of KL(q || p), of log-probabilities (N, C)."""
    return (log_q.exp() * (log_q - log_p)).sum(-1).mean()


def _log_act(act: str | None, x: Tensor) -> Tensor:
    if act == "softmax":
        return F.log_softmax(x, axis=-1)
    return F.log_sigmoid(x) if act == "sigmoid" else x.clip(min=1e-12).log()


def _pair_value(term: DistillationLoss, first: Tensor, second: Tensor) -> Tensor:
    if isinstance(term, DistillationDMLLoss):
        p, q = _log_act(term.act, first), _log_act(term.act, second)
        return (_kl(p, q) + _kl(q, p)) / 2
    if isinstance(term, DistillationKLDivLoss):
        t = term.temperature
        target = F.log_softmax(second.detach() / t, axis=-1)
        return _kl(F.log_softmax(first / t, axis=-1), target) * t**2
    if isinstance(term, DistillationCELoss):
        target = F.softmax(second.detach(), axis=-1)
        return F.cross_entropy(first, target, soft_label=True, label_smoothing=term.epsilon)
    assert isinstance(term, DistillationDistanceLoss)
    if first.shape != second.shape:
        raise ConfigError(
            f"Loss.Train: DistillationDistanceLoss of {term.key or 'logits'}: the outputs have the "
            f"shapes {first.shape} and {second.shape}; they must have one"
        )
    if term.mode == "l1":
        return F.l1_loss(first, second)
    return F.mse_loss(first, second) if term.mode == "l2" else F.smooth_l1_loss(first, second)


def build_distillation_loss(
    terms: Sequence[DistillationLoss],
) -> Callable[[Outputs, Tensor], Tensor]:
    """Return the weighted sum of losses, a function of outputs and labels to a scalar.

    Labels are classes, int64 (N,), or soft targets, float32 (N, C); only `DistillationGTCELoss`
    looks at them. The gradients of the terms of teacher and student go to the first of a pair, of
    `DistillationDMLLoss` and `DistillationDistanceLoss` to both, where they are not frozen.
    """

    def value(term: DistillationLoss, outputs: Outputs, labels: Tensor) -> Tensor:
        if isinstance(term, DistillationGTCELoss):
            loss = build_loss([CELoss(epsilon=term.epsilon)])
            return paddle.add_n([loss(outputs[m][term.layer], labels) for m in term.model_names])
        pairs = [(outputs[a][term.layer], outputs[b][term.layer]) for a, b in term.model_name_pairs]  # type: ignore[attr-defined]
        return paddle.add_n([_pair_value(term, first, second) for first, second in pairs])

    def loss(outputs: Outputs, labels: Tensor) -> Tensor:
        return paddle.add_n([value(term, outputs, labels) * term.weight for term in terms])

    return loss
