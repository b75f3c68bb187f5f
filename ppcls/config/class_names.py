"""The names of the classes, from a label list or from folder names."""

from __future__ import annotations

from pathlib import Path

from ppcls.config.from_checkpoint import run_config
from ppcls.config.schema import Config
from ppcls.data.datasets import BY_DATA
from ppcls.data.lists import LABEL_LIST, class_names, different_names, read_label_names
from ppcls.errors import DataError

__all__ = ["label_names", "resolve_classes", "trained_label_names"]


def resolve_classes(config: Config) -> Config:
    """Return the configuration with the classes of its data sets written out.

    The saved configuration of a run thus keeps the label of each folder even if the data set
    changes.

    Raises:
        DataError: training and validation folders have different classes.
    """
    loaders = config.DataLoader
    parts = {"Train": loaders.Train, "Eval": loaders.Eval}
    datasets = {name: part.dataset for name, part in parts.items() if part}
    found = {name: dataset.found_classes() for name, dataset in datasets.items()}
    classes = {name: names for name, names in found.items() if names}
    if (
        len(classes) == 2
        and datasets["Eval"].may_lack_classes
        and set(classes["Eval"]) < set(classes["Train"])
    ):
        classes["Eval"] = classes["Train"]
    if len(classes) == 2 and classes["Train"] != classes["Eval"]:
        odd = sorted(set(classes["Train"]) ^ set(classes["Eval"]))
        what = f"in only one of them: {', '.join(odd[:10])}" if odd else "in another order"
        raise DataError(
            f"{datasets['Train'].source} and {datasets['Eval'].source} have "
            f"different classes, {what}; set `classes` of both data sets, or allow_missing: true "
            "if the validation folder lacks some on purpose"
        )
    update = {
        name: part.model_copy(update={"dataset": part.dataset.with_classes(classes[name])})
        for name, part in parts.items()
        if part and name in classes
    }
    return config.model_copy(update={"DataLoader": loaders.model_copy(update=update)})


def label_names(config: Config) -> list[str]:
    """Return the names of a configuration's classes, in the order of their labels.

    They come from the label list `Infer.PostProcess.class_id_map_file`; without one, from a data
    set, such as the folders of an `ImageFolder`; otherwise they are the label numbers.

    Raises:
        DataError: the label list or the folder is wrong, or has another number of classes.
    """
    class_num = config.Arch.class_num
    names_file = config.Infer and config.Infer.PostProcess.class_id_map_file
    if names_file:
        return class_names(names_file, class_num, BY_DATA)
    for data in (config.DataLoader.Train, config.DataLoader.Eval):
        names = data.dataset.found_classes() if data else None
        if data and names:
            if len(names) != class_num:
                raise DataError(
                    f"{data.dataset.source}: {len(names)} classes for Arch.class_num {class_num}"
                )
            return names
    return class_names(None, class_num)


def trained_label_names(config: Config) -> list[str]:
    """Return `label_names`, checked against the class names of the trained weights.

    Raises:
        DataError: as `label_names`; or the weights come from a run with other class names.
    """
    names = label_names(config)
    weights = config.Global.checkpoints or config.Global.pretrained_model
    if weights in (None, "auto"):
        return names
    run = run_config(Path(str(weights)).expanduser())
    known = run.with_name(LABEL_LIST)
    if run.is_file() and known.is_file():
        difference = different_names(names, read_label_names(known))
        if difference:
            given = config.Infer and config.Infer.PostProcess.class_id_map_file
            raise DataError(
                f"{given or 'the data set'}: {difference} in {known}, the class names of these "
                "weights; if only the names differ, not the classes, use "
                f"-o Infer.PostProcess.class_id_map_file={known}"
            )
    return names
