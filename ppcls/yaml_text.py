"""Read and write YAML as plain data, within bounds of size, depth and aliases."""

from __future__ import annotations

import re
import reprlib
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer, ComposerError
from yaml.constructor import ConstructorError, SafeConstructor
from yaml.reader import Reader
from yaml.resolver import Resolver
from yaml.scanner import Scanner

try:
    from yaml._yaml import CParser
    from yaml.cyaml import CSafeDumper
except ImportError:  # a PyYAML without libyaml is ten times slower

    class CParser(Reader, Scanner, yaml.parser.Parser):  # type: ignore[no-redef]
        """PyYAML's own parser under the same name."""

        def __init__(self, stream: str):
            Reader.__init__(self, stream)
            Scanner.__init__(self)
            yaml.parser.Parser.__init__(self)

    CSafeDumper = yaml.SafeDumper  # type: ignore[assignment,misc]

__all__ = ["CoreLoader", "PlainLoader", "YamlError", "load_yaml", "read_text", "to_yaml"]

_MOST_CHARACTERS = 32 * 2**20
_MOST_VALUES = 1_000_000
_MOST_LEVELS = 100
_MOST_DIGITS = 1000
_TAG = "tag:yaml.org,2002:"
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
"""What no path, name or number can hold, and what an escape in quotes can give."""
_KINDS = ("null", "bool", "int", "float", "str", "seq", "map")


class YamlError(ValueError):
    """A text is not YAML, not plain data, or out of bounds.

    Attributes:
        line: the line in the text, counted from 1.
    """

    def __init__(self, message: str, line: int):
        super().__init__(message)
        self.line = line


class PlainLoader(Composer, CParser, SafeConstructor, Resolver):
    """Reads YAML 1.1 as PyYAML's SafeLoader does, but only numbers, text, lists and maps."""

    yaml_constructors = {
        f"{_TAG}{kind}": SafeConstructor.yaml_constructors[f"{_TAG}{kind}"] for kind in _KINDS
    }

    def __init__(self, text: str):
        CParser.__init__(self, text)
        Composer.__init__(self)
        SafeConstructor.__init__(self)
        Resolver.__init__(self)
        self._values = self._depth = self._height = 0
        self._anchored: dict[int, tuple[int, int]] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Count values and levels; an alias counts as what it stands for."""
        event: Any = self.peek_event()
        mark: Any = event.start_mark
        before, outer, self._height = self._values, self._height, 0
        self._depth += 1
        self._check(event)
        node: Any = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(event, yaml.AliasEvent):
            if id(node) not in self._anchored:
                problem = f"the alias *{event.anchor} contains itself"
                raise ComposerError(None, None, problem, mark)
            values, self._height = self._anchored[id(node)]
            self._values += values
        else:
            self._values += 1
            self._height += 1
            if event.anchor:
                self._anchored[id(node)] = (self._values - before, self._height)
        self._check(event)
        self._height = max(outer, self._height)
        return node

    def _check(self, event: Any) -> None:
        problem = None
        if self._values > _MOST_VALUES:
            problem = f"more than {_MOST_VALUES:,} values, those of aliases included"
        elif self._depth + self._height > _MOST_LEVELS:
            problem = f"nested more than {_MOST_LEVELS} levels deep"
        if problem:
            raise ComposerError(None, None, problem, event.start_mark)

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """Report a value that does not fit its tag with its line."""
        kind = node.tag.removeprefix(_TAG)
        if node.tag not in self.yaml_constructors:
            name = f"!!{kind}" if kind != node.tag else kind
            problem = f"the tag {name}, but values are {', '.join(_KINDS)}"
            raise ConstructorError(None, None, problem, node.start_mark)
        odd = isinstance(node, yaml.ScalarNode) and _NO_TEXT.search(node.value)
        if odd:
            problem = f"the character {odd[0]!r}, which no value can have"
            raise ConstructorError(None, None, problem, node.start_mark)
        try:
            if isinstance(node, yaml.ScalarNode) and not self.fits(kind, node.value):
                raise ValueError
            return super().construct_object(node, deep)
        except (ValueError, LookupError):
            problem = f"expected {kind}, not {reprlib.repr(node.value)}"
            raise ConstructorError(None, None, problem, node.start_mark) from None

    def fits(self, kind: str, text: str) -> bool:
        """Whether a text with an explicit tag, such as `!!int abc`, is one of that kind."""
        return True


_CORE = {
    "null": (r"~|null|Null|NULL|None|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)"
        r"|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    "merge": ("<<", ["<"]),
}
"""By kind: the texts that are of that kind without a tag, and how these begin."""


class CoreLoader(PlainLoader):
    """Reads numbers and booleans as YAML 1.2: `1e-4` is a number, `017` is 17, `no` a string.

    `None` is null, as in PaddleClas; `'None'` is the text.
    """

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    yaml_constructors = PlainLoader.yaml_constructors.copy()

    def fits(self, kind: str, text: str) -> bool:
        """Whether a text with an explicit tag, such as `!!int abc`, is one of that kind."""
        return kind not in _CORE or re.fullmatch(_CORE[kind][0], text) is not None

    def construct_integer(self, node: yaml.ScalarNode) -> int:
        """Return a decimal number, or an octal (`0o17`) or hexadecimal (`0xF`) one."""
        text = str(self.construct_scalar(node))
        if len(text) > _MOST_DIGITS:
            raise ValueError
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        return int(text if base == 10 else text[2:], base)


for _kind, (_pattern, _first) in _CORE.items():
    CoreLoader.add_implicit_resolver(f"{_TAG}{_kind}", re.compile(f"^(?:{_pattern})$"), _first)
CoreLoader.yaml_constructors[f"{_TAG}int"] = CoreLoader.construct_integer


class _Dumper(CSafeDumper):  # type: ignore[misc,valid-type]
    """Quotes text that either version of YAML would read as something else."""

    yaml_implicit_resolvers = {
        first: yaml.SafeDumper.yaml_implicit_resolvers.get(first, [])
        + CoreLoader.yaml_implicit_resolvers.get(first, [])
        for first in yaml.SafeDumper.yaml_implicit_resolvers | CoreLoader.yaml_implicit_resolvers
    }

    def ignore_aliases(self, data: Any) -> bool:
        """Write a value that occurs twice in full."""
        return True


def read_text(path: Path) -> str:
    """Return the text of a YAML file.

    Raises:
        YamlError: not UTF-8, or larger than 32 MiB.
        OSError: it cannot be read.
    """
    if path.stat().st_size > _MOST_CHARACTERS:
        raise YamlError(f"larger than {_MOST_CHARACTERS // 2**20} MiB", 1)
    data = path.read_bytes()
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise YamlError(f"not UTF-8 (byte {error.start})", line) from None


def load_yaml(text: str, loader: type[PlainLoader] = CoreLoader) -> tuple[Any, yaml.Node | None]:
    """Return the data of a YAML text, and its nodes, which hold the lines.

    Raises:
        YamlError: not YAML, a value of another kind, a duplicate key, or out of bounds (32 MiB,
            a million values, 100 levels).
    """
    if len(text) > _MOST_CHARACTERS:
        raise YamlError(f"longer than {_MOST_CHARACTERS // 2**20} Mi characters", 1)
    odd = Reader.NON_PRINTABLE.search(text)
    if odd:
        line = text.count("\n", 0, odd.start()) + 1
        raise YamlError(f"not valid YAML: the character {odd[0]!r}", line)
    try:
        reader = loader(text)
        node = reader.get_single_node()
        if node is None:
            return None, None
        _refuse_duplicates(node, set())
        return reader.construct_document(node), node
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        line = min(line, text.count("\n") + 1)  # libyaml counts the end of the text as a line
        raise YamlError(f"not valid YAML: {error.problem}", line) from None


def _refuse_duplicates(node: yaml.Node, seen: set[int]) -> None:
    # Before the maps are constructed, which adds the keys of `<<`: these may be set again.
    if id(node) in seen or isinstance(node, yaml.ScalarNode):
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_duplicates(value, seen)
        return
    names = set()
    for name, value in node.value:
        if isinstance(name, yaml.ScalarNode):
            if name.value in names and name.value != "<<":
                line = name.start_mark.line + 1
                raise YamlError(f"duplicate key {reprlib.repr(name.value)}", line)
            names.add(name.value)
        _refuse_duplicates(value, seen)


def to_yaml(data: Any, **options: Any) -> str:
    """Return plain data as YAML, keys in their order; `load_yaml` and other readers agree on it."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, **{"allow_unicode": True, **options})
