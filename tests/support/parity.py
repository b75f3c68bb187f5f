"""How recorded results were made: parameters filled by their names, and fixed inputs."""

from __future__ import annotations

import hashlib
import zlib
from typing import Any

import numpy as np
import paddle

import ppcls


def fill(name: str, shape: list[int], salt: int = 0) -> np.ndarray:
    """Values for a parameter or buffer, the same on every machine."""
    rng = np.random.RandomState((zlib.crc32(name.encode()) + salt) & 0x7FFFFFFF)
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "_variance" or (leaf == "weight" and len(shape) == 1):
        return rng.uniform(0.5, 1.5, shape).astype("float32")
    if len(shape) == 1:
        return rng.normal(0, 0.1, shape).astype("float32")
    gain, fan_in = (2.0, np.prod(shape[1:])) if len(shape) == 4 else (1.0, shape[0])
    return rng.normal(0, np.sqrt(gain / fan_in), shape).astype("float32")


def fill_model(model: paddle.nn.Layer, salt: int = 0) -> None:
    """Fill every parameter and buffer, in the precision that it has."""
    state = model.state_dict()
    values = {key: paddle.to_tensor(fill(key, list(v.shape), salt)) for key, v in state.items()}
    model.set_state_dict({key: value.astype(state[key].dtype) for key, value in values.items()})


def probe_image(size: int, salt: int = 0) -> np.ndarray:
    """The input of the recorded logits, float32 (2, 3, size, size)."""
    return np.random.RandomState(7 + salt).normal(0, 1, (2, 3, size, size)).astype("float32")


def fingerprint(model: paddle.nn.Layer) -> str:
    """The checksum of the keys and shapes of a state dict: one line a key, sorted."""
    lines = [f"{key} {list(value.shape)}" for key, value in sorted(model.state_dict().items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def probe_logits(model: paddle.nn.Layer, size: int, salt: int = 0) -> np.ndarray:
    """The answer to the probe image in float64; the model stays filled and in float64."""
    model.eval()
    model.to(dtype="float64")
    fill_model(model, salt)
    with paddle.no_grad():
        return model(paddle.to_tensor(probe_image(size, salt).astype("float64"))).numpy()


def facts_of(model: paddle.nn.Layer, size: int, salt: int = 0) -> dict[str, Any]:
    """The facts of `facts/architectures.json`, for a model of 1000 classes and its input size."""
    cost = ppcls.profile(model, size)
    logits = probe_logits(model, size, salt)
    return {
        "input_size": size,
        "trainable_params": cost.params,
        "macs": cost.macs,
        "state_dict_sha256": fingerprint(model),
        "probe": {
            "salt": salt,
            "std": logits.std(axis=1).tolist(),
            "logits_first8": logits[:, :8].tolist(),
        },
    }


def training_batch(step: int) -> tuple[np.ndarray, np.ndarray]:
    """The batch of a recorded training step: images float32 (4, 3, 64, 64), labels int64 (4,)."""
    images = np.random.RandomState(100 + step).normal(0, 1, (4, 3, 64, 64)).astype("float32")
    return images, np.random.RandomState(200 + step).randint(0, 10, (4,)).astype("int64")
