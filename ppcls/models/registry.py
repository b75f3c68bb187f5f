"""The registry of architectures: `register_architecture` fills it, `create_model` reads it."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, overload

from ppcls.errors import ConfigError
from ppcls.models.base import ImageClassifier
from ppcls.models.card import ModelCard
from ppcls.models.catalogue import add_card, family_module, model_card
from ppcls.models.weights import load_weights, locate_weights
from ppcls.printable import printable
from ppcls.spelling import names_options, refuse_unknown

__all__ = ["create_model", "register_architecture"]

Builder = Callable[..., ImageClassifier]
"""Builds a network from `class_num`, `in_channels` and optionally `dropout`."""

_BUILDERS: dict[str, Builder] = {}
_OPTIONS = ("pretrained", "class_num", "in_channels", "dropout", "features_only")


@overload
def register_architecture(
    build: Builder, *, name: str | None = None, card: ModelCard | None = None
) -> Builder: ...
@overload
def register_architecture(
    *, name: str | None = None, card: ModelCard | None = None
) -> Callable[[Builder], Builder]: ...
@names_options
def register_architecture(
    build: Builder | None = None, *, name: str | None = None, card: ModelCard | None = None
) -> Builder | Callable[[Builder], Builder]:
    """Register an architecture for `create_model` and for every configuration.

    Use it as a decorator, `@register_architecture` or `@register_architecture(card=…)`, on the
    builder of the network: a function or class that takes `class_num` and `in_channels` (and
    `dropout`, if the card has one) and returns an `ImageClassifier`.

    Args:
        build: the builder.
        name: the architecture's name; None takes the card's name, or else the builder's.
        card: the model card. ppcls's own families keep theirs in `cards.py`; for other
            architectures, None makes a card with the name alone.

    Raises:
        ConfigError: the builder cannot take these arguments, another architecture has that name,
            or the card has a different name.
    """
    if build is None:
        return partial(register_architecture, name=name, card=card)
    _check_builder(build, name, card)
    name = name or (card.name if card else build.__name__)
    if card and card.name != name:
        raise ConfigError(f"register_architecture: the card of {name!r} names {card.name!r}")
    earlier = _BUILDERS.get(name)
    if earlier is None and family_module(name) not in (None, _place(build)[0]):
        raise ConfigError(f"register_architecture: ppcls already has an architecture {name!r}")
    if earlier and _place(earlier) != _place(build):
        raise ConfigError(f"register_architecture: {name!r} is already {'.'.join(_place(earlier))}")
    _BUILDERS[name] = build
    if family_module(name) is None:
        add_card(card or ModelCard(name=name, family=name))
    return build


def _check_builder(build: object, name: object, card: object) -> None:
    where = "register_architecture"
    if not callable(build):
        raise ConfigError(f"{where}: expected a function or class that builds it, not {build!r}")
    if not isinstance(name, (str, type(None))) or not isinstance(card, (ModelCard, type(None))):
        raise ConfigError(f"{where}: name is text and card a ModelCard, not {name!r} and {card!r}")
    taken = inspect.signature(build).parameters.values()
    needed = ["class_num", "in_channels"] + ["dropout"] * bool(card and card.dropout is not None)
    known = [parameter.name for parameter in taken if parameter.kind is not parameter.VAR_KEYWORD]
    missing = [option for option in needed if option not in known]
    if missing and len(known) == len(taken):
        raise ConfigError(
            f"{where}: {getattr(build, '__name__', build)} must take {' and '.join(missing)}"
        )


def _check_model(name: str, model: object) -> None:
    if not isinstance(model, ImageClassifier):
        raise ConfigError(
            f"{name}: its builder returned {type(model).__name__}; expected an ImageClassifier"
        )
    missing = [key for key in ("feature_info", "head", "first_conv") if not hasattr(model, key)]
    if missing:
        raise ConfigError(f"{name}: must set {' and '.join(missing)} (see ppcls.ImageClassifier)")


def _place(build: Builder) -> tuple[str, str]:
    function: Any = build.func if isinstance(build, partial) else build
    return function.__module__, function.__qualname__


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
        pretrained: False for an untrained model, True for the published weights, the name of a
            variant of them (`ssld`), a path, or a URL. If the weights have another `class_num` or
            `in_channels`, the head is reinitialised or the stem adapted, with a warning.
        class_num: number of classes, the second dimension of the logits.
        in_channels: channels of the input image.
        dropout: drop probability of the head, for architectures with dropout; None is the
            paper's value.
        features_only: make a backbone that returns feature maps by stage instead of logits. The
            layers after them stay in the model, unused and without gradients, so that published
            checkpoints load unchanged.
        unknown: any other option is an error that names it.

    Returns:
        A `paddle.nn.Layer` that maps float32 images (N, in_channels, H, W) to float32 logits
        (N, class_num); with `features_only`, to a list of float32 maps. `model.feature_info` states
        their channels and strides.

    Raises:
        ConfigError: no such architecture or option, an invalid value, or dropout for an
            architecture without it.
        WeightsError: the weights do not exist, cannot be fetched or read, or belong to another
            model.
    """
    card = model_card(name)
    refuse_unknown("create_model", unknown, _OPTIONS)
    for option, value in (("class_num", class_num), ("in_channels", in_channels)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"{name}: {option} must be a positive integer, not {value!r}")
    options: dict[str, object] = {"class_num": class_num, "in_channels": in_channels}
    if dropout is not None:
        if card.dropout is None:
            raise ConfigError(f"{name} has no dropout, but dropout={dropout!r} is set")
        if not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
            raise ConfigError(f"{name}: dropout must be a number in [0, 1), not {dropout!r}")
        options["dropout"] = dropout
    network = family_module(name)
    if network:
        import_module(network)  # it registers its architectures
    model = _BUILDERS[name](**options)
    _check_model(name, model)
    model.name = name
    model.features_only = features_only
    if pretrained:
        for note in load_weights(model, locate_weights(card, pretrained), adapt=True):
            warnings.warn(printable(note), stacklevel=2)
    return model
