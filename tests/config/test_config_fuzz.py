"""Whatever is written into a configuration or an override: a configuration or an error of ours."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ppcls.config import Config, load_config
from ppcls.errors import ConfigError

RECIPES = ["quick_start/HarDNet39_ds", "HarDNet/HarDNet39_ds"]
PARTS = ["Global", "Arch", "Optimizer", "lr", "name", "epochs", "DataLoader", "Train", "dataset"]
PARTS += ["transform_ops", "0", "1", "9", "-1", "ResizeImage", "size", "Infer", "Metric", "Eval"]
PARTS += ["ARCHITECTURE", "LEARNING_RATE", "function", "params", "TRAIN", "VALID", "transforms"]
WORDS = st.one_of(st.sampled_from(PARTS), st.text(max_size=6))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)


# However long the machine takes for it.
PATIENT = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def loads_or_explains(source: str | Path, overrides: list[str]) -> None:
    with suppress(ConfigError):
        assert isinstance(load_config(source, overrides), Config)


@PATIENT
@given(
    st.sampled_from(RECIPES),
    st.lists(WORDS, max_size=6),
    st.sampled_from(["=", "+=", ""]),
    VALUES | st.text(max_size=12),
)
def test_overrides(recipe: str, parts: list[str], sign: str, value: object) -> None:
    text = value if isinstance(value, str) else yaml.safe_dump(value, default_flow_style=True)
    loads_or_explains(recipe, [".".join(parts) + sign + text])


@PATIENT
@given(st.dictionaries(WORDS, VALUES, max_size=4).map(yaml.safe_dump) | st.text() | st.binary())
def test_files(content: str | bytes) -> None:
    data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fuzzed.yaml"
        path.write_bytes(data)
        loads_or_explains(path, [])
