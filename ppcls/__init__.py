"""ppcls: image classification models for PaddlePaddle, from training to deployment.

The public names are listed below with their modules and imported on first use. `import ppcls` is
therefore fast, and loads Paddle only when a name needs it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ppcls.paddle_install import naming_missing_paddle
from ppcls.version import __version__ as __version__

if TYPE_CHECKING:
    from ppcls.compat.paddleclas import PaddleClas as PaddleClas
    from ppcls.config import Config as Config
    from ppcls.config import data_overrides as data_overrides
    from ppcls.config import dump_config as dump_config
    from ppcls.config import load_config as load_config
    from ppcls.data.datasets import Dataset as Dataset
    from ppcls.data.datasets import register_dataset as register_dataset
    from ppcls.data.folders import split_folder as split_folder
    from ppcls.data.image import read_image as read_image
    from ppcls.data.lists import Sample as Sample
    from ppcls.data.samplers import Sampler as Sampler
    from ppcls.data.samplers import register_sampler as register_sampler
    from ppcls.data.transforms.base import Transform as Transform
    from ppcls.data.transforms.base import register_transform as register_transform
    from ppcls.data.transforms.mix import Mixing as Mixing
    from ppcls.data.transforms.mix import register_batch_transform as register_batch_transform
    from ppcls.errors import PpclsError as PpclsError
    from ppcls.evaluation.evaluate import evaluate as evaluate
    from ppcls.evaluation.evaluate import evaluate_model as evaluate_model
    from ppcls.exporting.by_name import Predictor as Predictor
    from ppcls.exporting.export import export as export
    from ppcls.fitting.fit import fit as fit
    from ppcls.inference.backends.base import Capability as Capability
    from ppcls.inference.backends.base import EngineBackend as EngineBackend
    from ppcls.inference.backends.base import register_backend as register_backend
    from ppcls.inference.backends.tensorrt import TensorRTOptions as TensorRTOptions
    from ppcls.losses.base import Loss as Loss
    from ppcls.losses.base import register_loss as register_loss
    from ppcls.metrics.base import Metric as Metric
    from ppcls.metrics.base import register_metric as register_metric
    from ppcls.models.base import FeatureInfo as FeatureInfo
    from ppcls.models.base import ImageClassifier as ImageClassifier
    from ppcls.models.card import ModelCard as ModelCard
    from ppcls.models.catalogue import list_models as list_models
    from ppcls.models.catalogue import model_card as model_card
    from ppcls.models.cost import profile as profile
    from ppcls.models.normalize import Normalize as Normalize
    from ppcls.models.registry import create_model as create_model
    from ppcls.models.registry import register_architecture as register_architecture
    from ppcls.models.weight_files import read_weights as read_weights
    from ppcls.models.weight_files import write_weights as write_weights
    from ppcls.models.weights import load_weights as load_weights
    from ppcls.models.weights import save_weights as save_weights
    from ppcls.optim.optimizers import Optimizer as Optimizer
    from ppcls.optim.optimizers import register_optimizer as register_optimizer
    from ppcls.optim.schedules import Rate as Rate
    from ppcls.optim.schedules import Schedule as Schedule
    from ppcls.optim.schedules import register_scheduler as register_scheduler
    from ppcls.training.callbacks import Callback as Callback
    from ppcls.training.run import open_data as open_data
    from ppcls.training.totals import Totals as Totals
    from ppcls.training.train import train as train

_HOMES = {
    "Callback": "ppcls.training.callbacks",
    "Capability": "ppcls.inference.backends.base",
    "Config": "ppcls.config",
    "Dataset": "ppcls.data.datasets",
    "EngineBackend": "ppcls.inference.backends.base",
    "FeatureInfo": "ppcls.models.base",
    "ImageClassifier": "ppcls.models.base",
    "Loss": "ppcls.losses.base",
    "Metric": "ppcls.metrics.base",
    "Mixing": "ppcls.data.transforms.mix",
    "ModelCard": "ppcls.models.card",
    "Normalize": "ppcls.models.normalize",
    "Optimizer": "ppcls.optim.optimizers",
    "PaddleClas": "ppcls.compat.paddleclas",
    "PpclsError": "ppcls.errors",
    "Predictor": "ppcls.exporting.by_name",
    "Rate": "ppcls.optim.schedules",
    "Sample": "ppcls.data.lists",
    "Sampler": "ppcls.data.samplers",
    "Schedule": "ppcls.optim.schedules",
    "TensorRTOptions": "ppcls.inference.backends.tensorrt",
    "Totals": "ppcls.training.totals",
    "Transform": "ppcls.data.transforms.base",
    "create_model": "ppcls.models.registry",
    "data_overrides": "ppcls.config",
    "dump_config": "ppcls.config",
    "evaluate": "ppcls.evaluation.evaluate",
    "evaluate_model": "ppcls.evaluation.evaluate",
    "export": "ppcls.exporting.export",
    "fit": "ppcls.fitting.fit",
    "list_models": "ppcls.models.catalogue",
    "load_config": "ppcls.config",
    "load_weights": "ppcls.models.weights",
    "model_card": "ppcls.models.catalogue",
    "open_data": "ppcls.training.run",
    "profile": "ppcls.models.cost",
    "read_image": "ppcls.data.image",
    "read_weights": "ppcls.models.weight_files",
    "register_architecture": "ppcls.models.registry",
    "register_backend": "ppcls.inference.backends.base",
    "register_batch_transform": "ppcls.data.transforms.mix",
    "register_dataset": "ppcls.data.datasets",
    "register_loss": "ppcls.losses.base",
    "register_metric": "ppcls.metrics.base",
    "register_optimizer": "ppcls.optim.optimizers",
    "register_sampler": "ppcls.data.samplers",
    "register_scheduler": "ppcls.optim.schedules",
    "register_transform": "ppcls.data.transforms.base",
    "save_weights": "ppcls.models.weights",
    "split_folder": "ppcls.data.folders",
    "train": "ppcls.training.train",
    "write_weights": "ppcls.models.weight_files",
}

__all__ = [
    "Callback",
    "Capability",
    "Config",
    "Dataset",
    "EngineBackend",
    "FeatureInfo",
    "ImageClassifier",
    "Loss",
    "Metric",
    "Mixing",
    "ModelCard",
    "Normalize",
    "Optimizer",
    "PaddleClas",
    "PpclsError",
    "Predictor",
    "Rate",
    "Sample",
    "Sampler",
    "Schedule",
    "TensorRTOptions",
    "Totals",
    "Transform",
    "create_model",
    "data_overrides",
    "dump_config",
    "evaluate",
    "evaluate_model",
    "export",
    "fit",
    "list_models",
    "load_config",
    "load_weights",
    "model_card",
    "open_data",
    "profile",
    "read_image",
    "read_weights",
    "register_architecture",
    "register_backend",
    "register_batch_transform",
    "register_dataset",
    "register_loss",
    "register_metric",
    "register_optimizer",
    "register_sampler",
    "register_scheduler",
    "register_transform",
    "save_weights",
    "split_folder",
    "train",
    "write_weights",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ppcls' has no attribute {name!r}")
    with naming_missing_paddle():
        return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
