"""The class `paddleclas.PaddleClas`, implemented with ppcls's predictor.

Its arguments and the returned dictionaries are those of PaddleClas's Python package.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ppcls.compat.inference_cls import DeployGlobal
from ppcls.errors import ConfigError
from ppcls.exporting.by_name import Predictor
from ppcls.ignored_options import IGNORED
from ppcls.options import first_problem
from ppcls.spelling import refuse_unknown

__all__ = ["PaddleClas"]


class PaddleClas:
    """Predicts with a published or an exported model.

    Args:
        model_name: an architecture, as `ppcls list` prints it; its published weights are
            downloaded and exported once.
        inference_model_dir: an exported model, instead of `model_name`.
        topk: number of classes in a prediction.
        class_id_map_file: other class names, `label name` on each line.
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
        **options: Any,
    ):
        if (model_name is None) == (inference_model_dir is None):
            raise ConfigError("PaddleClas: give either model_name or inference_model_dir")
        known = DeployGlobal.model_fields.keys() | IGNORED["DeployGlobal"].keys()
        refuse_unknown("PaddleClas", options, known - {"infer_imgs", "inference_model_dir"})
        try:
            chosen = DeployGlobal(**options)
        except ValidationError as error:
            raise ConfigError(f"PaddleClas: {first_problem(error)}") from None
        model = inference_model_dir if model_name is None else model_name
        self._batch_size = chosen.batch_size
        self._predictor = Predictor(
            model if model is not None else "",
            pretrained=model_name is not None,
            topk=topk,
            labels=class_id_map_file,
            allow_url=True,
            **chosen.predictor_options(),
        )

    def predict(self, input_data: Any, print_pred: bool = False) -> Iterator[list[dict[str, Any]]]:
        """Yield the predictions, one list for each `batch_size` images.

        Args:
            input_data: a path, URL, folder, or RGB array (H, W, 3); or any other input of
                `ppcls.Predictor.predict`.
            print_pred: print each prediction, too.

        Returns:
            Dictionaries with `class_ids scores label_names filename`, scores rounded to five
            digits; for an unreadable image they are empty, and `error` has the reason.
        """
        results = self._predictor.predict(input_data)
        while batch := list(itertools.islice(results, self._batch_size)):
            answers = []
            for result in batch:
                record = result.to_dict()
                keys = ["class_ids", "scores", "label_names", "filename"]
                keys += ["error"] if result.error is not None else []
                answers.append({key: record[key] for key in keys})
                if print_pred:
                    print(answers[-1])
            yield answers
