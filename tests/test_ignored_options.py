"""Options of PaddleClas that change nothing are accepted, refused by their name, and left out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import ppcls.compat.inference_cls
import ppcls.training.profile  # noqa: F401
from ppcls.bundle import SPEC_FILE, read_bundle
from ppcls.config import load_config
from ppcls.errors import ConfigError
from ppcls.ignored_options import ANY, IGNORED
from ppcls.options import Options


def classes(base: type[Options] = Options) -> Iterator[type[Options]]:
    for cls in base.__subclasses__():
        yield cls
        yield from classes(cls)


def test_the_table_names_classes_and_no_options_that_they_have() -> None:
    by_name = {cls.__name__: cls for cls in classes()}
    for name, options in IGNORED.items():
        assert not options.keys() & by_name[name].model_fields.keys()


@pytest.mark.parametrize(
    ("name", "option"), [(name, option) for name in IGNORED for option in IGNORED[name]]
)
def test_accepted_values_are_left_out_and_others_named(name: str, option: str) -> None:
    (cls,) = (cls for cls in classes() if cls.__name__ == name)
    ignored = IGNORED[name][option]
    values = ["whatever"] if ignored.accepted == ANY else ignored.accepted
    for value in values:
        assert cls._without_ignored({option: value, "x": 1}) == {"x": 1}
    if ignored.accepted != ANY:
        with pytest.raises(ValueError, match=r"leave it out|expected") as error:
            cls._without_ignored({option: "another"})
        assert error.value.errors()[0]["loc"] == (option,)


def test_an_override_of_one_is_named_with_its_place() -> None:
    override = "DataLoader.Eval.sampler.shuffle=true"
    with pytest.raises(ConfigError) as error:
        load_config("quick_start/HarDNet39_ds", [override])
    assert str(error.value).startswith(f"-o {override}: DataLoader.Eval.sampler.shuffle: expected")


def test_bundles_of_before_are_read(bundle: Path) -> None:
    spec = yaml.safe_load((bundle / SPEC_FILE).read_text("utf-8"))
    ops = spec["PreProcess"]["transform_ops"]
    assert "return_numpy" not in ops[0]["ResizeImage"]
    before = read_bundle(bundle)
    ops[0]["ResizeImage"]["return_numpy"] = True
    ops[1]["NormalizeImage"] |= {"channel_num": 3, "output_fp16": False}
    (bundle / SPEC_FILE).write_text(yaml.safe_dump(spec), encoding="utf-8")
    assert read_bundle(bundle) == before
