"""The class `paddleclas.PaddleClas`, implemented with ppcls's predictor.

Its arguments and the returned dictionaries are those of PaddleClas's Python package.
"""

from __future__ import annotations

import filecmp
import inspect
import itertools
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ppcls.compat.inference_cls import DeployGlobal, refuse_missing_gpu
from ppcls.data.lists import PUBLISHED_IMAGENET
from ppcls.data.transforms.resize_crop import CropImage, ResizeImage
from ppcls.errors import ConfigError, RunError
from ppcls.exporting.by_name import Predictor
from ppcls.ignored_options import IGNORED
from ppcls.inference.model_folder import describes_itself
from ppcls.inference.results import Result
from ppcls.options import first_problem
from ppcls.spelling import refuse_unknown

__all__ = ["PaddleClas"]

_RESIZE_SHORT, _CROP_SIZE = 256, 224


class PaddleClas:
    """Predicts with a published or an exported model.

    Args:
        model_name: an architecture, as `ppcls list` prints it; its published weights are
            downloaded and exported once.
        inference_model_dir: an exported model, instead of `model_name`.
        topk: number of classes in a prediction.
        class_id_map_file: other class names, `label name` on each line; an exported model without
            `inference.yml` has those of ImageNet.
        resize_short: length of the short side after resizing, in pixels, for an exported model
            without `inference.yml` (256); with one, only its own value is accepted.
        crop_size: side of the centre crop, in pixels, in the same way (224).
        save_dir: copy each image file to a folder here that is named after its best class id.
        options: `batch_size use_gpu enable_mkldnn cpu_num_threads use_fp16 use_tensorrt
            gpu_mem`, as in `deploy/configs/inference_cls.yaml`.

    Raises:
        ConfigError: not exactly one model, an unknown option or a wrong value.
        PpclsError: as `ppcls.Predictor`.
    """

    def __init__(
        self,
        model_name: str | None = None,
        inference_model_dir: str | Path | None = None,
        *,
        topk: int = 5,
        class_id_map_file: str | Path | None = None,
        resize_short: int | None = None,
        crop_size: int | None = None,
        save_dir: str | Path | None = None,
        **options: Any,
    ):
        if (model_name is None) == (inference_model_dir is None):
            raise ConfigError("PaddleClas: give either model_name or inference_model_dir")
        known = DeployGlobal.model_fields.keys() | IGNORED["DeployGlobal"].keys()
        own = inspect.signature(PaddleClas).parameters.keys() - {"options"}
        refuse_unknown("PaddleClas", options, sorted((known - {"infer_imgs"}) | own))
        try:
            chosen = DeployGlobal(**options)
        except ValidationError as error:
            raise ConfigError(f"PaddleClas: {first_problem(error)}") from None
        refuse_missing_gpu(chosen, "use_gpu=False")
        self._batch_size = chosen.batch_size
        self._save_dir = None if save_dir is None else Path(save_dir).expanduser()
        sizes = {"resize_short": resize_short, "crop_size": crop_size}
        model: str | Path = model_name or ""
        of_another: dict[str, Any] = {"labels": class_id_map_file}
        if inference_model_dir is not None:
            model = Path(inference_model_dir).expanduser()
            if not model.is_dir():
                raise ConfigError(f"PaddleClas: inference_model_dir: {model}: no such folder")
            if not describes_itself(model):
                of_another = {
                    "labels": class_id_map_file or PUBLISHED_IMAGENET,
                    "transforms": [
                        {"ResizeImage": {"resize_short": resize_short or _RESIZE_SHORT}},
                        {"CropImage": {"size": crop_size or _CROP_SIZE}},
                        {"NormalizeImage": {}},
                    ],
                }
        self._predictor = Predictor(
            model,
            pretrained=model_name is not None,
            topk=topk,
            allow_url=True,
            **of_another,
            **chosen.predictor_options(),
        )
        self._refuse_other_sizes(sizes)

    def _refuse_other_sizes(self, sizes: Mapping[str, int | None]) -> None:
        """Refuse sizes that differ from those of the model's own transforms."""
        own: dict[str, Any] = {}
        for op in self._predictor.facts.pipeline.ops:
            if isinstance(op, ResizeImage):
                own["resize_short"] = op.resize_short
            elif isinstance(op, CropImage):
                own["crop_size"] = op.size
        for name, size in sizes.items():
            if size is not None and size != own.get(name):
                raise ConfigError(
                    f"PaddleClas: {name} is {size}, but the model was exported with "
                    f"{own.get(name)}; `ppcls export --input-size` exports one for another size"
                )

    def _save(self, result: Result) -> None:
        """Copy an image file to the folder of its best class."""
        if self._save_dir is None or not result.class_ids or not Path(result.source).is_file():
            return
        copy = self._save_dir / str(result.class_ids[0]) / Path(result.source).name
        try:
            if copy.exists() and not filecmp.cmp(result.source, copy, shallow=False):
                raise RunError(
                    f"{copy}: another image of that name is there; empty the folder, or choose "
                    "another save_dir"
                )
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(result.source, copy)
        except shutil.SameFileError:
            pass
        except OSError as error:
            raise RunError(f"{copy}: cannot write: {error.strerror or error}") from None

    def predict(self, input_data: Any, print_pred: bool = False) -> Iterator[list[dict[str, Any]]]:
        """Yield the predictions, one list for each `batch_size` images.

        Args:
            input_data: a path, URL, folder, or RGB array (H, W, 3); or any other input of
                `ppcls.Predictor.predict`.
            print_pred: print each prediction, too.

        Returns:
            Dictionaries with `class_ids scores label_names filename`, scores rounded to five
            digits; for an unreadable image they are empty, and `error` has the reason.

        Raises:
            RunError: `save_dir` cannot be written, or has another image of the same name.
        """
        results = self._predictor.predict(input_data)
        while batch := list(itertools.islice(results, self._batch_size)):
            answers = []
            for result in batch:
                record = result.to_dict()
                keys = ["class_ids", "scores", "label_names", "filename"]
                keys += ["error"] if result.error is not None else []
                answers.append({key: record[key] for key in keys})
                self._save(result)
                if print_pred:
                    print(answers[-1])
            yield answers
