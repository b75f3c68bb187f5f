"""ppcls: image classification models for PaddlePaddle, from training to deployment.

The names below are imported when they are first used: `import ppcls` costs next to nothing, and
Paddle is loaded only for what computes.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ppcls.errors import naming_missing_paddle
from ppcls.version import __version__ as __version__

if TYPE_CHECKING:
    from ppcls.compat.paddleclas import PaddleClas
    from ppcls.config import Config, load_config
    from ppcls.errors import PpclsError
    from ppcls.evaluation.evaluate import evaluate
    from ppcls.exporting.by_name import Predictor
    from ppcls.exporting.export import export
    from ppcls.inference.backends import register_backend
    from ppcls.models.catalogue import ModelCard, list_models, model_card
    from ppcls.models.cost import profile
    from ppcls.models.registry import create_model
    from ppcls.training.train import train

_HOMES = {
    "Config": "ppcls.config",
    "ModelCard": "ppcls.models.card",
    "PaddleClas": "ppcls.compat.paddleclas",
    "PpclsError": "ppcls.errors",
    "Predictor": "ppcls.exporting.by_name",
    "create_model": "ppcls.models.registry",
    "evaluate": "ppcls.evaluation.evaluate",
    "export": "ppcls.exporting.export",
    "list_models": "ppcls.models.catalogue",
    "load_config": "ppcls.config",
    "model_card": "ppcls.models.catalogue",
    "profile": "ppcls.models.cost",
    "register_backend": "ppcls.inference.backends",
    "train": "ppcls.training.train",
}

__all__ = [
    "Config",
    "ModelCard",
    "PaddleClas",
    "PpclsError",
    "Predictor",
    "create_model",
    "evaluate",
    "export",
    "list_models",
    "load_config",
    "model_card",
    "profile",
    "register_backend",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ppcls' has no attribute {name!r}")
    with naming_missing_paddle():
        return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
