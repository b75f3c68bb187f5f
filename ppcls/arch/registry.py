"""The table of architectures: filled by `@register_model`, read by `create_model`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ppcls.arch.layers import ImageClassifier
from ppcls.arch.weights import load_weights, locate_weights
from ppcls.cards import model_card
from ppcls.errors import ConfigError, refuse_unknown

__all__ = ["create_model", "register_model"]

_BUILDERS: dict[str, Callable[..., ImageClassifier]] = {}
_OPTIONS = ("pretrained", "class_num", "in_channels", "dropout", "features_only")


def register_model(build: Callable[..., ImageClassifier]) -> Callable[..., ImageClassifier]:
    """Make `build` available to `create_model` under its function name, which must have a card."""
    name = build.__name__
    model_card(name)
    if name in _BUILDERS:
        raise ValueError(f"the architecture {name} is registered twice")
    _BUILDERS[name] = build
    return build


def create_model(
    name: str,
    *,
    pretrained: bool | str | Path = False,
    class_num: int = 1000,
    in_channels: int = 3,
    dropout: float | None = None,
    features_only: bool = False,
    **unknown: Any,
) -> ImageClassifier:
    """Build an architecture.

    Args:
        name: a name that `list_models` returns.
        pretrained: False for the fresh initialisation, True for the published weights, the name
            of a variant of them (`ssld`), a path, or a URL. With another `class_num` or
            `in_channels` than the weights have, the head starts afresh and the stem is adapted,
            each with a warning.
        class_num: number of classes, the second dimension of the logits.
        in_channels: channels of the input image.
        dropout: drop probability of the head, for the architectures that have one; None is the
            paper's.
        features_only: the model is a backbone: it answers with its feature maps by stage instead
            of logits. What comes after them stays in the model, unused and without gradients, so
            that state_dict keys are the published ones and checkpoints load as they are.
        unknown: there are no other options; one is named in an error.

    Returns:
        A `paddle.nn.Layer` that maps float32 images (N, in_channels, H, W) to float32 logits
        (N, class_num); with `features_only` to a list of float32 maps, whose channels and strides
        `model.feature_info` states.

    Raises:
        ConfigError: no such architecture or option, an impossible value, or dropout where there is
            none.
        WeightsError: there are no such weights, they cannot be fetched or read, or are made for
            another model.
    """
    card = model_card(name)
    refuse_unknown("create_model", unknown, _OPTIONS)
    for option, value in (("class_num", class_num), ("in_channels", in_channels)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"{name}: {option} must be a positive integer, not {value!r}")
    options: dict[str, object] = {"class_num": class_num, "in_channels": in_channels}
    if dropout is not None:
        if card.dropout is None:
            raise ConfigError(f"{name} has no dropout to set (dropout={dropout!r})")
        if not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
            raise ConfigError(f"{name}: dropout must be a number in [0, 1), not {dropout!r}")
        options["dropout"] = dropout
    model = _BUILDERS[name](**options)
    model.name = name
    model.features_only = features_only
    if pretrained:
        for note in load_weights(model, locate_weights(card, pretrained), adapt=True):
            warnings.warn(note, stacklevel=2)
    return model
