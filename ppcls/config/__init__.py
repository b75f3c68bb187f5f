"""Configuration: YAML files and `-o` overrides in, one typed `Config` out. Needs no Paddle."""

from ppcls.config.load import data_overrides, dump_config, load_config
from ppcls.config.schema import Config, required

__all__ = ["Config", "data_overrides", "dump_config", "load_config", "required"]
