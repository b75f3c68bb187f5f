"""Predictions by architecture name: the architecture is exported once, into the cache."""

from __future__ import annotations

import hashlib
import os
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock

from ppcls.bundle import is_complete
from ppcls.errors import ConfigError, WeightsError
from ppcls.files import cache_home, sha256
from ppcls.inference import predictor
from ppcls.models.catalogue import list_models, model_card, unknown

__all__ = ["Predictor", "export_untrained", "exported", "without_data"]


class Predictor(predictor.Predictor):
    """A predictor (`ppcls.inference.predictor.Predictor`) that also takes architecture names.

    Args:
        model: the exported folder, or the name of an architecture from `ppcls list`, which is
            exported into the cache at first use.
        pretrained: weights for a named architecture: True for the published ones, or a path or URL.
        options: those of `PredictorOptions` and of the chosen backend.

    Raises:
        ConfigError: no such architecture, or no weights for it.
        PpclsError: as in the predictor of a folder.
    """

    def __init__(self, model: str | Path, *, pretrained: bool | str | Path = False, **options: Any):
        folder = Path(os.path.expanduser(model))
        if not folder.is_dir():
            folder = exported(str(model), pretrained)
        elif pretrained is not False:
            raise ConfigError(
                f"{folder} is an exported model with its own weights: leave out pretrained"
            )
        super().__init__(folder, **options)
        self._again = partial(type(self), model, pretrained=pretrained, **options)


def exported(name: str, pretrained: bool | str | Path = False) -> Path:
    """Return the cached bundle of an architecture, and export it first if it is missing.

    The bundle includes the ONNX file if the package that writes it is installed.

    Args:
        name: an architecture from `ppcls list`.
        pretrained: True for the published weights, or a path or URL.

    Raises:
        ConfigError: no such architecture, or no weights are named.
        WeightsError: the weights cannot be read or fetched, or do not fit.
    """
    _require_architecture(name)
    if not pretrained:
        raise ConfigError(
            f"{name}: no weights are named: pretrained=True (--pretrained) takes the published "
            "ones, pretrained=PATH (--weights PATH) your own"
        )
    # Imported here, because predictions from a bundle need neither Paddle nor training code.
    from ppcls.config import load_config
    from ppcls.exporting.export import export
    from ppcls.exporting.onnx import has_onnx
    from ppcls.models.weights import locate_weights

    weights = locate_weights(
        model_card(name), pretrained if pretrained is True else str(pretrained)
    )
    onnx = has_onnx()
    made_of = (sha256(weights), metadata.version("ppcls"), f"onnx={onnx}")
    key = hashlib.sha256("\n".join(made_of).encode()).hexdigest()[:12]
    folder = cache_home() / "exported" / f"{name}-{key}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if is_complete(folder):
            return folder
        overrides = [
            f"Global.pretrained_model={weights}",
            f"Global.save_inference_dir={folder}",
            "Global.device=cpu",
        ]
        try:
            export(without_data(load_config(name, overrides)), onnx=onnx)
        except WeightsError as error:
            raise WeightsError(
                f"{error}; `ppcls export {name} DIR --weights {weights} -o Arch.class_num=N "
                "Infer.PostProcess.class_id_map_file=FILE` sets them, with a list of your class "
                "names (or null)"
            ) from None
    return folder


def export_untrained(name: str, folder: Path, *, onnx: bool = True) -> Path:
    """Export an untrained architecture, to measure its speed.

    Args:
        name: an architecture from `ppcls list`.
        folder: the folder to write.
        onnx: whether to write the ONNX file too, if the package for it is installed.

    Raises:
        ConfigError: no such architecture.
        RunError: the folder cannot be written to.
    """
    _require_architecture(name)
    from ppcls.config import load_config
    from ppcls.exporting.export import export
    from ppcls.exporting.onnx import has_onnx

    overrides = [f"Global.save_inference_dir={folder}", "Global.device=cpu"]
    config = without_data(load_config(name, overrides))
    return export(config, allow_random=True, onnx=onnx and has_onnx(), check=False).folder


def _require_architecture(name: str) -> None:
    if name not in list_models():
        raise ConfigError(f"{name!r}: no such folder, and {unknown(name)}")


def without_data(config: Any) -> Any:
    """Return a recipe without data sets, so that an export by name is the same everywhere."""
    from ppcls.config.schema import DataLoaders

    infer = config.Infer.model_copy(update={"transforms": config.transforms("Infer")})
    return config.model_copy(update={"Infer": infer, "DataLoader": DataLoaders()})
