"""Checks of a configuration across its sections; each is a function that raises `Mismatch`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ppcls.data.transforms.base import Transform
from ppcls.errors import ConfigError
from ppcls.options import Mismatch
from ppcls.registry import is_own
from ppcls.spelling import did_you_mean

if TYPE_CHECKING:
    from ppcls.config.schema import Config, Part

__all__ = ["check_sections"]

_WITH = {"one": "one class", "several": "several labels"}
_FITTING = {
    ("Loss", "one"): "CELoss and FocalLoss fit",
    ("Loss", "several"): "MultiLabelLoss fits",
    ("Loss", "none"): "losses of model_name_pairs fit",
    ("Metric", "one"): "TopkAcc fits",
    ("Metric", "several"): "AccuracyScore, HammingDistance and MultiLabelMAP fit",
    ("Metric", "none"): "set it to null",
}


def check_sections(config: Config) -> None:
    """Check that the sections of a configuration fit together.

    Raises:
        Mismatch: two of them do not; the first that is found.
    """
    for check in (
        _no_size_is_transposed,
        _something_follows_the_image_size,
        _transforms_take_the_channels,
        _schedule_fits_the_run,
        _distils_what_there_is,
        _losses_and_metrics_fit_the_labels,
        _evaluates_what_it_trains,
        _post_process_fits_the_labels,
        _one_entry_a_class,
    ):
        check(config)


def _transforms(config: Config) -> Iterator[tuple[str, str, Transform]]:
    """Yield the part, the key and the operation of each configured transform."""
    keys: dict[Part, str] = {
        "Train": "DataLoader.Train.dataset.transform_ops",
        "Eval": "DataLoader.Eval.dataset.transform_ops",
        "Infer": "Infer.transforms",
    }
    for part, key in keys.items():
        if part == "Infer" and not (config.Infer and config.Infer.transforms):
            continue  # those of Eval
        for i, op in enumerate(config.transforms(part) or ()):
            yield part, f"{key}.{i}.{type(op).__name__}", op


def _no_size_is_transposed(config: Config) -> None:
    options = config.Global
    stated = {
        "Global.image_size": options.image_size,
        "Global.image_shape": options.image_shape and options.image_shape[1:],
    }
    last: dict[str, tuple[str, list[int]]] = {}
    for part, place, op in _transforms(config):
        for option in ("size", "cover"):
            size = getattr(op, option, None) if is_own(type(op)) else None
            if not isinstance(size, list) or size[0] == size[1]:
                continue
            key = f"{place}.{option}"
            last[part] = key, size
            for other, sides in stated.items():
                if sides == size:
                    raise Mismatch(
                        f"{size} is width {size[0]} and height {size[1]}, but {other} has height "
                        f"{size[0]} and width {size[1]}; a transform has the width first: "
                        f"{option}: {size[::-1]}",
                        key,
                        other,
                    )
    for name, (key, size) in last.items():
        other, of_eval = last.get("Eval", (key, size))
        if size == of_eval[::-1]:
            raise Mismatch(
                f"{size} is width {size[0]} and height {size[1]}, but {other} is {of_eval}: "
                f"{name} and Eval need the same sides; both are [width, height]",
                key,
                other,
            )


def _something_follows_the_image_size(config: Config) -> None:
    ops = [op for _, _, op in _transforms(config)]
    if config.Global.image_size and ops and not any(op.follows_image_size for op in ops):
        sized = next((op for op in ops if getattr(op, "size", None)), ops[0])
        raise Mismatch(
            f"has no effect: every transform has a size of its own, such as "
            f"{type(sized).__name__}; leave out those sizes, or image_size",
            "Global.image_size",
        )


def _transforms_take_the_channels(config: Config) -> None:
    for _, key, op in _transforms(config):
        try:
            op.for_channels(config.in_channels)
        except ConfigError as error:
            raise Mismatch(str(error), key) from None


def _schedule_fits_the_run(config: Config) -> None:
    if config.Optimizer is None:
        return
    lr = config.Optimizer.lr
    lr.check_length(config.Global.epochs)
    if lr.watches and not config.Global.eval_during_train:
        raise Mismatch(
            f"{lr.name} watches the evaluations, which Global.eval_during_train: false disables",
            "Optimizer.lr.name",
            "Global.eval_during_train",
        )


def _terms(config: Config) -> Iterator[tuple[str, str, int, Any]]:
    """Yield the section, the part, the index and the term of each loss and metric."""
    for section in ("Loss", "Metric"):
        for part in ("Train", "Eval"):
            for i, term in enumerate(getattr(getattr(config, section), part)):
                yield section, part, i, term


def _one_entry_a_class(config: Config) -> None:
    given: dict[str, Any] = {}
    for section, part, i, term in _terms(config):
        place = f"{section}.{part}.{i}.{type(term).__name__}"
        keys = term.per_class if section == "Loss" else ("threshold",)
        given |= {f"{place}.{key}": getattr(term, key, None) for key in keys}
    if config.Infer:
        post = config.Infer.PostProcess
        given["Infer.PostProcess.threshold"] = getattr(post, "threshold", None)
    classes = config.Arch.class_num
    for key, value in given.items():
        if isinstance(value, list) and len(value) != classes:
            message = f"has {len(value)} entries; Arch.class_num is {classes}"
            raise Mismatch(message, key, "Arch.class_num")


def _distils_what_there_is(config: Config) -> None:
    arch, train = config.Arch, config.DataLoader.Train and config.DataLoader.Train.dataset
    terms = list(_terms(config))
    chosen = arch.student
    if chosen is None:
        odd = [type(term).__name__ for *_, term in terms if term.models]
        if train and train.labels == "none":
            odd.append(train.name)
        if odd:
            raise Mismatch(f"{odd[0]} needs DistillationModel, not {arch.name}", "Arch.name")
        return
    if config.Global.to_static:
        raise Mismatch("does not support a distillation", "Global.to_static")
    models = arch.by_name  # type: ignore[attr-defined]
    for section, part, _, term in terms:
        kind, where = type(term).__name__, f"{section}.{part}"
        if section == "Metric":
            if set(term.models) - {chosen}:
                raise Mismatch(
                    f"{chosen} (Arch.infer_model_name) is evaluated, not {term.models[0]!r} "
                    "(model_key)",
                    "Metric",
                )
            continue
        if part == "Train" and not term.models:
            raise Mismatch(f"{kind} names no model; use DistillationGTCELoss", where)
        for name in term.models:
            if name not in models:
                hint = did_you_mean(name, models)
                raise Mismatch(f"{kind}: no model {name!r} in Arch.models{hint}", where)
            if term.layer is not None and term.layer not in models[name].return_patterns:
                raise Mismatch(
                    f"{kind}: {term.key!r} is not one of return_patterns of {name}", where
                )
        if part == "Eval" and (term.deployed().models or set(term.models) - {chosen}):
            raise Mismatch(
                f"only {chosen} (infer_model_name) is evaluated: use CELoss, or "
                f"DistillationGTCELoss with model_names: [{chosen}]",
                where,
            )


def _losses_and_metrics_fit_the_labels(config: Config) -> None:
    validated = config.DataLoader.Eval and config.DataLoader.Eval.dataset
    if validated and validated.labels == "none":
        raise Mismatch(f"an evaluation needs labels, not {validated.name}", "DataLoader.Eval")
    for section, part, _, term in _terms(config):
        data = getattr(config.DataLoader, part)
        if data is None or term.labels in (data.dataset.labels, "none"):
            continue
        # Of a distillation on several labels only these can be trained.
        pairs = section == "Loss" and part == "Train" and config.Arch.student
        raise Mismatch(
            f"{type(term).__name__} is for images with {_WITH[term.labels]} each, but "
            f"DataLoader.{part}.dataset is {data.dataset.name}; "
            f"{_FITTING[section, 'none' if pairs else data.dataset.labels]}",
            f"{section}.{part}",
            f"DataLoader.{part}.dataset",
        )


def _evaluates_what_it_trains(config: Config) -> None:
    several = [type(term).__name__ for term in config.Loss.Train if term.labels == "several"]
    if several and not config.multi_label:
        raise Mismatch(
            f"{type(config.Loss.Eval[0]).__name__} is for images with one class each, but "
            f"Loss.Train has {several[0]}; {_FITTING['Loss', 'several']}",
            "Loss.Eval",
            "Loss.Train",
        )


def _post_process_fits_the_labels(config: Config) -> None:
    post = config.Infer and config.Infer.PostProcess
    # Without a name, it is Topk until the losses tell.
    if post is None or not (hasattr(post, "threshold") or "name" in post.model_fields_set):
        return
    if hasattr(post, "threshold") != config.multi_label:
        model, fits = "single-label", "Topk"
        if config.multi_label:
            model, fits = "multi-label", "MultiLabelThreshOutput"
        raise Mismatch(
            f"{type(post).__name__} does not fit a {model} model "
            f"({type(config.Loss.Eval[0]).__name__}); {fits} does",
            "Infer.PostProcess.name",
            "Loss.Eval",
        )
