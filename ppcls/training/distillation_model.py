"""Distillation: several models trained as one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import paddle
from paddle import Tensor, nn

from ppcls.config.schema import DistillationArch
from ppcls.errors import ConfigError
from ppcls.losses.distillation import Outputs
from ppcls.models.base import ImageClassifier
from ppcls.models.catalogue import model_card
from ppcls.models.registry import create_model
from ppcls.models.weights import load_weights, locate_weights
from ppcls.spelling import did_you_mean
from ppcls.training.freeze import prepare_model

__all__ = ["DistillationModel", "build_distillation"]


class DistillationModel(ImageClassifier):
    """Models by name, each a sub-layer of that name: `Student.conv.weight` in a state_dict.

    Args:
        models: the models by name.
        frozen: the names of the models that are not trained and stay in evaluation mode.
        layers: by model, the names of the sub-layers whose outputs the loss needs.
        student: the name of the deployed model.

    Raises:
        ConfigError: a model has no such sub-layer.
    """

    def __init__(
        self,
        models: Mapping[str, ImageClassifier],
        frozen: set[str],
        layers: Mapping[str, Sequence[str]],
        student: str,
    ):
        super().__init__()
        self.name, self.head, self.first_conv = "DistillationModel", "", ""
        self.frozen, self.student = frozen, student
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
        """Put trained models into training mode and frozen ones into evaluation mode."""
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
            # Release the outputs: only the loss needs them.
            self._kept[name].clear()
        return found

    def forward(self, x: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        """Map float32 images (N, C, H, W) to the logits (N, class_num) of every model."""
        return {name: outputs[None] for name, outputs in self.outputs(x).items()}


def build_distillation(
    arch: DistillationArch, device: str, resumes: bool = False, in_channels: int = 3
) -> tuple[DistillationModel, list[str]]:
    """Build the models of a distillation and load their pretrained weights.

    Args:
        arch: the section `Arch`.
        device: Paddle's current device.
        resumes: skip the pretrained weights, because a checkpoint of all models follows.
        in_channels: channels of the images.

    Returns:
        The combined model, and the lines to show the user.

    Raises:
        ConfigError: a model does not support its options, or a frozen one has no weights.
        WeightsError: weights are not available, or are made for another model.
    """
    given = arch.pretrained_list or [None] * len(arch.models)
    models, notes = {}, []
    for (name, options), path in zip(arch.by_name.items(), given, strict=True):
        model = create_model(
            options.name,
            class_num=options.class_num,
            in_channels=in_channels,
            dropout=options.dropout,
        )
        pretrained = path or ("ssld" if options.use_ssld else options.pretrained)
        if name in arch.frozen and not (pretrained or resumes):
            raise ConfigError(
                f"Arch.models: {name} is frozen and has no weights to teach with; set "
                f"Arch.models.N.{name}.pretrained or Arch.pretrained_list"
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
    return DistillationModel(models, arch.frozen, layers, arch.student), notes
