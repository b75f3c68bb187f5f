"""ppcls: image classification models for PaddlePaddle, from training to deployment.

The names below are imported when they are first used: `import ppcls` costs next to nothing, and
Paddle is loaded only for what computes.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ppcls.arch import create_model
    from ppcls.arch.profile import profile
    from ppcls.cards import ModelCard, list_models, model_card
    from ppcls.config import Config, load_config
    from ppcls.engine.evaluate import evaluate
    from ppcls.engine.train import train
    from ppcls.errors import PpclsError
    from ppcls.exporter.export import export
    from ppcls.inference.predictor import Predictor
    from ppcls.paddleclas import PaddleClas

_HOMES = {
    "Config": "ppcls.config",
    "ModelCard": "ppcls.cards",
    "PaddleClas": "ppcls.paddleclas",
    "PpclsError": "ppcls.errors",
    "Predictor": "ppcls.inference.predictor",
    "create_model": "ppcls.arch",
    "evaluate": "ppcls.engine.evaluate",
    "export": "ppcls.exporter.export",
    "list_models": "ppcls.cards",
    "load_config": "ppcls.config",
    "model_card": "ppcls.cards",
    "profile": "ppcls.arch.profile",
    "train": "ppcls.engine.train",
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
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ppcls' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
