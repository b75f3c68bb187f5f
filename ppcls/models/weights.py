"""Locate the weights that a user names, and load them only if they fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn

from ppcls.errors import WeightsError
from ppcls.models.base import ImageClassifier
from ppcls.models.catalogue import ModelCard
from ppcls.models.download import fetch
from ppcls.models.weight_files import find_weights, read_weights, write_weights
from ppcls.spelling import names_options

__all__ = ["finite", "load_weights", "locate_weights", "save_weights"]


def save_weights(model: nn.Layer, path: str | Path) -> None:
    """Write a model's parameters and buffers under their structured names (see `write_weights`)."""
    write_weights({key: value.numpy() for key, value in model.state_dict().items()}, path)


def locate_weights(card: ModelCard, pretrained: bool | str | Path) -> Path:
    """Return the weights file that a user names; published weights are fetched into the cache.

    Args:
        card: card of the architecture.
        pretrained: True for the published weights, the name of a variant of them (`ssld`), a URL,
            or a path.

    Raises:
        WeightsError: no such published weights, no such file, or the download failed.
    """
    if pretrained is True:
        return fetch(card.checkpoint("").url)
    text = str(pretrained)
    if text == "ssld" or text in {c.variant for c in card.checkpoints if c.variant}:
        return fetch(card.checkpoint(text).url)
    if "://" in text:
        return fetch(text)
    return find_weights(text)


def _names(keys: Sequence[str]) -> str:
    return ", ".join(key[:100] for key in keys[:3]) + (
        f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    )


def _adapt_stem(weight: np.ndarray, in_channels: int) -> np.ndarray:
    """Return a stem kernel (out, 3, kh, kw) for another number of input channels.

    One channel gets the sum of the three. More channels get them in turn, scaled to the same total,
    so that a gray or repeated image gives the same result as before.
    """
    if in_channels == 1:
        return weight.sum(axis=1, keepdims=True)
    turns = -(-in_channels // weight.shape[1])
    repeated = np.tile(weight, (1, turns, 1, 1))[:, :in_channels]
    return (repeated * (weight.shape[1] / in_channels)).astype(weight.dtype)


def _refuse_several_models(state: Mapping[str, Any], model: ImageClassifier, path: Path) -> None:
    """Raise for a file with all models of a distillation, and name the file of the kept model."""
    names = sorted({key.partition(".")[0] for key in state})
    own = model.state_dict()
    if len(names) < 2 or not any(all(f"{name}.{key}" in state for key in own) for name in names):
        return
    alone = path.with_name("best_model_student.pdparams")
    beside = f"; {alone} holds the model that was kept" if alone.is_file() else ""
    raise WeightsError(
        f"{path}: holds the models of a distillation, {' and '.join(names)}, not a single "
        f"{model.name}{beside}"
    )


def finite(state: Mapping[str, np.ndarray], path: str | Path) -> dict[str, np.ndarray]:
    """Return the floating-point arrays of a weights file, of any shapes, as float32.

    Raises:
        WeightsError: a value is NaN, infinite, or too large for float32; the message names its key.
    """
    with np.errstate(over="ignore"):
        single = {key: value.astype(np.float32, copy=False) for key, value in state.items()}
    bad = [key for key, value in single.items() if not np.isfinite(value).all()]
    if bad:
        key = bad[0]
        count = int((~np.isfinite(single[key])).sum())
        is_finite = np.isfinite(state[key]).all()
        what = "exceed the range of float32" if is_finite else "are NaN or infinite"
        others = f", and so do values of {len(bad) - 1} more keys" if len(bad) > 1 else ""
        raise WeightsError(
            f"{path}: {count} of {single[key].size} values of {key} {what}{others}; use other "
            "weights, such as an earlier checkpoint"
        )
    return single


@names_options
def load_weights(
    model: ImageClassifier, path: str | Path, *, adapt: bool = False, strict: bool = True
) -> list[str]:
    """Load a weights file into a model; every key must exist with the same shape.

    Args:
        model: the model to fill.
        path: a file that `read_weights` reads.
        adapt: fit pretrained weights to a new task. If the number of classes differs, the
            classification layer is reinitialised; if the number of input channels differs, the stem
            is adapted.
        strict: False to load the weights that fit and leave the rest of the model unchanged.

    Returns:
        One line for the user about each weight that was adapted or not loaded.

    Raises:
        WeightsError: the file has another number of classes or input channels (and `adapt` is
            false), or belongs to another model (and `strict` is true), or a value to load is NaN,
            infinite, or too large for float32; the message names the keys.
    """
    state = read_weights(path)
    if state and all(key.startswith("_layers.") for key in state):
        # Saved from within paddle.DataParallel.
        state = {key.removeprefix("_layers."): value for key, value in state.items()}
    _refuse_several_models(state, model, Path(path))
    other = [k for k, v in state.items() if v.dtype.kind != "f"]
    if other:
        dtype = state[other[0]].dtype
        is_bfloat16 = " (Paddle's bfloat16: convert it to float32)" if dtype == np.uint16 else ""
        raise WeightsError(
            f"{path}: {other[0][:100]} is {dtype}{is_bfloat16}; expected a floating-point array"
        )
    own: dict[str, Tensor] = model.state_dict()
    notes = []

    stem, head = f"{model.first_conv}.weight", f"{model.head}.bias"
    if stem in state and stem in own and state[stem].ndim == 4:
        theirs, ours = state[stem].shape[1], own[stem].shape[1]
        if theirs == 3 and ours != 3 and adapt:
            state[stem] = _adapt_stem(state[stem], ours)
            how = "their sum" if ours == 1 else "repeated in turn and rescaled to the same total"
            notes.append(f"{path}: {stem} adapted from 3 input channels to {ours}: {how}")
        elif theirs != ours and strict:
            raise WeightsError(
                f"{path}: these weights take images of {theirs} channel{'s' * (theirs > 1)}, but "
                f"the model takes {ours}; set Global.in_channels={theirs} "
                f"(-o Global.in_channels={theirs})"
            )
    if head in state and head in own and state[head].shape != tuple(own[head].shape):
        theirs, ours = state[head].size, own[head].shape[0]
        if not adapt:
            raise WeightsError(
                f"{path}: these weights have {theirs} classes, but the model has {ours}; "
                f"set Arch.class_num={theirs} (-o Arch.class_num={theirs})"
            )
        for key in own:
            if key.startswith(f"{model.head}."):
                state[key] = own[key].numpy()
        notes.append(
            f"{path}: {theirs} classes in the file, {ours} in the model: {model.head} is untrained"
        )

    shapes = {key: tuple(value.shape) for key, value in own.items()}
    unfit = {
        "missing": [k for k in own if k not in state],
        "unexpected": [k for k in state if k not in own],
        "of another shape": [k for k in own if k in state and state[k].shape != shapes[k]],
    }
    if any(unfit.values()):
        found = "; ".join(f"{len(k)} {what} ({_names(k)})" for what, k in unfit.items() if k)
        if strict:
            raise WeightsError(
                f"{path}: made for another model than {model.name}: of {len(own)} keys, " + found
            )
        notes.append(f"{path}: not loaded: of {len(own)} keys, {found}")
    fitting = {k: v for k, v in state.items() if k in own and v.shape == shapes[k]}
    fitting = finite(fitting, path)
    # All or nothing: a parameter that the file lacks is set to its own value.
    whole = {k: fitting[k] if k in fitting else v.numpy() for k, v in own.items()}
    model.set_state_dict({k: paddle.to_tensor(v.astype(np.float32)) for k, v in whole.items()})
    return notes
