"""YAML as version 1.2 reads it, within bounds, and back; no value takes the machine."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ppcls.config import dump_config, load_config
from ppcls.config.yaml_files import parse_yaml, read_config
from ppcls.errors import ConfigError
from ppcls.yaml_text import PlainLoader, YamlError, load_yaml, to_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        ("+12", 12),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("1e-4", 1e-4),
        (".5", 0.5),
        ("no", "no"),
        ("True", True),
        ("~", None),
        ("2020-01-01", "2020-01-01"),
        ("'017'", "017"),
        ("=", "="),
    ],
)
def test_values_are_those_of_yaml_1_2(text: str, value: object) -> None:
    found = load_yaml(f"a: {text}")[0]["a"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("text", ["017", "0o17", "1e3", "1:30", "no", "~", "=", "<<", "", "a\nb"])
def test_text_stays_text_for_readers_of_either_version(text: str) -> None:
    written = to_yaml({"a": text})
    assert load_yaml(written)[0] == load_yaml(written, PlainLoader)[0] == {"a": text}
    assert yaml.safe_load(written) == {"a": text}


def test_a_merge_may_be_overridden_and_keeps_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "merged.yaml"
    path.write_text("first: &d\n  x: 1\n  y: 2\nsecond:\n  <<: *d\n  x: 3\n")
    data, origins = read_config(path)
    assert data["second"] == {"x": 3, "y": 2}
    assert origins["second", "x"] == f"{path}:6"
    assert origins["second", "y"] == f"{path}:3"
    with pytest.raises(ConfigError, match="line 1: duplicate key 'x'"):
        parse_yaml("{x: 1, <<: {y: 1}, x: 2}", lambda line: f"line {line}")


def bomb(link: str) -> str:
    """Return nested aliases: nine of the line before in each line."""
    lines = ["a: &a {k: 1}"]
    for here, before in zip("bcdefghij", "abcdefghi", strict=True):
        lines.append(f"{here}: &{here} " + link.format(", ".join([f"*{before}"] * 9)))
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("\n\na: !!int abc", 3, "expected int, not 'abc'"),
        ("a: !!bool maybe", 1, "expected bool, not 'maybe'"),
        ("a: !!null x", 1, "expected null, not 'x'"),
        ("a: !!float ''", 1, "expected float, not ''"),
        ("a: !!timestamp x", 1, "the tag !!timestamp"),
        ("a: !!python/name:os.system x", 1, "the tag !!python/name:os.system"),
        ("a: " + "9" * 5000, 1, "expected int, not"),
        ("a: 0x" + "f" * 5000, 1, "expected int, not"),
        ("a: &x [*x]", 1, "the alias *x contains itself"),
        ("[" * 100_000, 1, "nest"),
        ("a:\n" + "- " * 50_000, 2, "nested more than 100 levels"),
        ("\n".join(["- &a0 [x]", *(f"- &a{i} [*a{i - 1}]" for i in range(1, 400))]), 99, "levels"),
        (bomb("[{}]"), 7, "more than 1,000,000 values"),
        (bomb("{{<<: [{}]}}"), 7, "more than 1,000,000 values"),
        ("a: 1\nb: \x00", 2, r"the character '\x00'"),
        ('a: 1\nb: "\\0"', 2, r"the character '\x00'"),
        ("a: \ud800", 1, "the character '\\ud800'"),
        ("? [a]\n: b", 1, "unhashable"),
        ("x" * (2**25 + 1), 1, "longer than 32 Mi"),
    ],
)
def test_what_is_not_yaml_or_out_of_bounds_is_named_with_its_line(
    text: str, line: int, message: str
) -> None:
    with pytest.raises(YamlError) as raised:
        load_yaml(text)
    assert message in str(raised.value)
    assert raised.value.line == line
    assert len(str(raised.value)) < 200


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    with path.open("wb") as file:
        file.truncate(2**25 + 1)
    with pytest.raises(ConfigError, match=r"large\.yaml:1: .*larger than 32 MiB"):
        read_config(path)
    path.write_bytes(b"a: 1\nb: \xff")
    with pytest.raises(ConfigError, match=r"large\.yaml:2: .*not UTF-8"):
        read_config(path)


@pytest.mark.parametrize(
    "override",
    [
        "Global.epochs=" + "a" * 3_000_000,
        "a" * 3_000_000 + "=1",
        "Arch.name=" + "a" * 3_000_000,
        "Optimizer.name=" + "a" * 3_000_000,
        "Global={" + "a" * 1_000_000 + ": 1}",
        "Loss.Train=[" + "{a: 1}," * 3000 + "]",
    ],
    ids=["value", "key", "name", "tag", "inner-key", "list"],
)
def test_an_error_stays_short_whatever_the_value(override: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config("quick_start/HarDNet39_ds", [override])
    lines = str(raised.value).splitlines()
    assert len(lines) <= 51
    assert max(map(len, lines)) < 5000


@pytest.mark.parametrize(
    "override",
    [
        "Global.epochs=1e23",
        "Global.epochs=100000000000000000000000",
        "Global.image_shape=[3, 1000000, 1000000]",
        "Arch.class_num=100000000000000000000000",
        "DataLoader.Train.sampler.batch_size=100000000000000000000000",
        "DataLoader.Train.loader.num_workers=1000000",
        'Global.output_dir="a\\0b"',
        "Global.output_dir=a\udce9b",
        "Global.image_size=[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]",
    ],
)
def test_values_beyond_reason_are_errors_of_the_configuration(override: str) -> None:
    with pytest.raises(ConfigError, match="-o "):
        load_config("quick_start/HarDNet39_ds", [override])


def test_a_dumped_configuration_is_read_back(tmp_path: Path) -> None:
    odd = ["Global.output_dir='1e3'", "Infer.infer_imgs='0o17'", "Infer.batch_size=017"]
    config = load_config("quick_start/HarDNet39_ds", odd)
    assert config.Infer.batch_size == 17
    (tmp_path / "dumped.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "dumped.yaml") == config
