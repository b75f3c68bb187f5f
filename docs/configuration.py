"""Write the reference of every key, in both languages, from the schema: `make docs-config`.

`configuration.py FOLDER` writes configuration.md and configuration.zh.md elsewhere.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ppcls.config.printing import json_schema
from ppcls.ignored_options import ANY, IGNORED
from ppcls.options import Options


class Language(NamedTuple):
    """What the page says beside the docstrings, which are in English."""

    introduction: str
    sections: str
    flat_dialect: str
    ignored: str
    ignored_columns: tuple[str, str, str]
    any_value: str
    no_value: str
    columns: tuple[str, str, str, str]
    alternative: str
    list_of: str
    count: str
    map_to: str
    kinds: dict[str, str]
    elsewhere: str
    place: str
    and_place: str
    inherited: str


ENGLISH = Language(
    introduction="""\
<!-- Written by `make docs-config` from the schema: change the docstrings in ppcls/config. -->

# Configuration reference

Every key that a configuration file may have. Anything else is an error, which names the file, the
line and the closest key. `ppcls config CONFIG` prints a configuration as it will be used, and where
each value came from; `ppcls config --schema` prints this reference as a JSON Schema, for editors.

- `_base_: other.yaml` begins a file that says only what differs. It takes a path, relative to the
  file, or the name of a shipped configuration, as `-c` does, or a list of them. Maps are merged,
  and a map with `_delete_: true` replaces the one of the base.
- `-o KEY=VALUE` sets a value on the command line, read as YAML and never run as code. Entries of
  lists are named by index, also where a list is the default
  (`DataLoader.Train.dataset.transform_ops.1.RandCropImage.scale=[0.3, 1]`), `KEY=null` takes a
  value away, `KEY+=VALUE` appends to a list.
- `None`, unquoted, is null in files and in `-o`, as in PaddleClas; `'None'` is the text.
- Where the default is a dash, the key must be set, and `null` means no value. In paths, `~` and
  `$VARIABLE` stand for what they mean in a shell.
- What is written as a map of one key, `ResizeImage: {size: 32}`, is listed under that key.

There are two dialects: [sections](#sections), as in PaddleClas 2.1 and later, and the
[flat one](#flat-dialect) of PaddleClas 2.0, whose sections have names in capitals. Batch sizes of
the flat dialect are over all devices. For a file in the flat dialect, `-o` takes the keys of both;
those of the flat dialect are set first. [Classes of your own](extending.md) are named like those
listed here. Options of PaddleClas that change nothing are
[accepted and ignored](#accepted-and-ignored).
""",
    sections="## Sections",
    flat_dialect="## Flat dialect",
    ignored="""\
## Accepted and ignored

These options of PaddleClas change nothing here. The accepted values are read and left out; any
other value is an error with the reason.
""",
    ignored_columns=("option", "accepted", "reason"),
    any_value="any",
    no_value="none",
    columns=("key", "value", "default", "meaning"),
    alternative=" or ",
    list_of="list of {}{}",
    count="{} of ",
    map_to="map of names to {}",
    kinds={"string": "text"},
    elsewhere="see there",
    place="In {}.",
    and_place=", ",
    inherited="And the keys of {}.",
)

CHINESE = Language(
    introduction="""\
<!-- Written by `make docs-config` from the schema: change the docstrings in ppcls/config. -->

# 配置参考

配置文件可以含有的全部键。任何其他的键都是错误，错误信息会指出文件、行和最接近的键。
`ppcls config CONFIG` 打印实际生效的配置，以及每个值的来源；
`ppcls config --schema` 以 JSON Schema 打印本参考，供编辑器使用。
选项的说明取自代码中的文档字符串，为英文。

- 以 `_base_: other.yaml` 开头的文件只需写出不同的内容。它接受路径（相对于该文件）、自带配置的名称
  （与 `-c` 相同），或由它们组成的列表。映射会合并，含有 `_delete_: true` 的映射则取代
  基础文件中的映射。
- `-o KEY=VALUE` 在命令行中设置一个值，按 YAML 读取，从不作为代码执行。
  列表中的项以序号指定，列表为默认值时也可以
  （`DataLoader.Train.dataset.transform_ops.1.RandCropImage.scale=[0.3, 1]`），
  `KEY=null` 去掉一个值，`KEY+=VALUE` 在列表末尾追加。
- 与 PaddleClas 相同，文件和 `-o` 中不带引号的 `None` 表示 null；带引号的 `'None'` 是文本。
- 默认值为短横线的键必须设置，`null` 表示没有值。路径中的 `~` 和 `$VARIABLE` 与在 shell 中含义相同。
- 写成只有一个键的映射的内容，例如 `ResizeImage: {size: 32}`，列在该键之下。

有两种格式：PaddleClas 2.1 及以后的[分节格式](#sections)，
以及 PaddleClas 2.0 的[扁平格式](#flat-dialect)，后者各节的名称为大写。
扁平格式中的批大小是所有设备的总和。
对于扁平格式的文件，`-o` 接受两种格式的键，其中扁平格式的键先生效。
[你自己的类](extending.md)与此处列出的类用法相同。
PaddleClas 中不起作用的选项会被[接受但忽略](#accepted-and-ignored)。
""",
    sections="## 分节格式 {#sections}",
    flat_dialect="## 扁平格式 {#flat-dialect}",
    ignored="""\
## 接受但忽略的选项 {#accepted-and-ignored}

PaddleClas 的这些选项在此不起作用。接受的值会被读取并忽略；任何其他值都是错误，错误信息会说明原因。
""",
    ignored_columns=("选项", "接受的值", "原因"),
    any_value="任意",
    no_value="无",
    columns=("键", "值", "默认值", "含义"),
    alternative=" 或 ",
    list_of="列表（{}{}）",
    count="{} 个",
    map_to="映射（名称 → {}）",
    kinds={"string": "文本", "integer": "整数", "number": "数"},
    elsewhere="见该处",
    place="位于 {}。",
    and_place="、",
    inherited="以及 {} 的各个键。",
)

PAGES = {"configuration.md": ENGLISH, "configuration.zh.md": CHINESE}


def _anchor(name: str) -> str:
    return re.sub(r"[^\w-]", "", name).lower()


def _reference(schema: dict[str, Any]) -> str | None:
    return schema["$ref"].rpartition("/")[2] if "$ref" in schema else None


def _number(schema: dict[str, Any], name: str) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    # The bound of every count says nothing to a reader.
    limits = [
        f"{sign} {schema[key]:.12g}"
        for key, sign in signs.items()
        if schema.get(key, 2**31 - 1) != 2**31 - 1
    ]
    return " ".join([name, ", ".join(limits)]).strip()


def _literal(value: Any) -> str:
    plain = isinstance(value, str) and value
    return f"`{value if plain else json.dumps(value)}`"


def _type(schema: dict[str, Any], say: Language) -> str:
    """Say in a few words what a value may be."""
    name = _reference(schema)
    if name:
        return f"[{name}](#{_anchor(name)})"
    for word in ("anyOf", "oneOf"):
        if word in schema:
            inner_types = (_type(inner, say) for inner in schema[word])
            return say.alternative.join(dict.fromkeys(inner_types))
    if "const" in schema:
        return _literal(schema["const"])
    if "enum" in schema:
        return ", ".join(_literal(value) for value in schema["enum"])
    kind = schema.get("type")
    if isinstance(kind, list):
        return say.alternative.join(_type({"type": inner}, say) for inner in kind)
    if kind == "array":
        low, high = schema.get("minItems"), schema.get("maxItems")
        count = say.count.format(low) if low and low == high else ""
        return say.list_of.format(count, _type(schema.get("items", {}), say))
    if kind == "object":
        if "properties" in schema:
            inner_types = (_type(inner, say) for inner in schema["properties"].values())
            return say.alternative.join(inner_types)
        return say.map_to.format(_type(schema.get("additionalProperties", {}), say))
    names = {"boolean": "`true`, `false`", "null": "`null`"}
    return names.get(str(kind)) or _number(schema, say.kinds.get(str(kind), str(kind)))


def _options(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of the options, without the map of one key that some are written as."""
    if list(schema.get("properties", {})) == schema.get("required"):
        (inner,) = schema["properties"].values() if len(schema["properties"]) == 1 else (None,)
        if inner and len(inner.get("anyOf", ())) == 2 and inner["anyOf"][1] == {"type": "null"}:
            return inner["anyOf"][0]
    return schema


def _about(description: str) -> tuple[str, dict[str, str]]:
    """Split a docstring into its text and what it says of each attribute."""
    text, _, rest = inspect.cleandoc(description).partition("\nAttributes:\n")
    attributes: dict[str, str] = {}
    for entry in re.split(r"\n    (?=\w)", "\n" + rest):
        name, colon, about = entry.strip().partition(":")
        if colon:
            attributes[name] = " ".join(about.split())
    return text.strip(), attributes


def _default(schema: dict[str, Any], required: bool, say: Language) -> str:
    if required:
        return "-"
    if "default" not in schema:
        return ""
    value = schema["default"]
    text = json.dumps(value, ensure_ascii=False)
    return f"`{text}`" if len(text) <= 40 else say.elsewhere


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _option_classes(base: type[Options] = Options) -> Iterator[type[Options]]:
    for inner in base.__subclasses__():
        yield inner
        yield from _option_classes(inner)


def _parent(cls: type[Options]) -> type[Options] | None:
    """Return the class whose keys this one has too, if it is one to be described itself."""
    documented = [c for c in cls.__mro__[1:] if c.__name__[0] != "_" and hasattr(c, "model_fields")]
    return documented[0] if documented[0].model_fields else None


def _fields(cls: type[Options]) -> set[str]:
    """Return the keys that are described with its parent."""
    parent = _parent(cls)
    if parent is None:
        return set()
    return {key for key in parent.model_fields if key not in cls.__annotations__}


def _table(
    schema: dict[str, Any], about: dict[str, str], without: Collection[str], say: Language
) -> Iterator[str]:
    columns = say.columns if about else say.columns[:3]
    yield "| " + " | ".join(columns) + " |"
    yield "|" + "---|" * len(columns)
    for key, value in schema["properties"].items():
        if key in without:
            continue
        required = key in schema.get("required", ())
        cells = [f"`{key}`", _type(value, say), _default(value, required, say)]
        if about:
            cells.append(about.get(key, ""))
        yield "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _classes(schema: dict[str, Any]) -> Iterator[str]:
    """Yield the names of the classes that a schema refers to."""
    name = _reference(schema)
    if name:
        yield name
    for inner in schema.values():
        for part in inner if isinstance(inner, list) else [inner]:
            if isinstance(part, dict):
                yield from _classes(part)


def _walk(name: str, definitions: dict[str, Any], places: dict[str, list[str]], at: str) -> None:
    """Note where each class is used, in the order of the sections."""
    for key, value in _options(definitions[name]).get("properties", {}).items():
        place = f"{at}.{key}".strip(".")
        for inner in dict.fromkeys(_classes(value)):
            known = inner in places
            if place not in places.setdefault(inner, []):
                places[inner].append(place)
            if not known:
                _walk(inner, definitions, places, place)


def _section(
    root: str, definitions: dict[str, Any], done: set[str], say: Language
) -> Iterator[str]:
    classes = {cls.__name__: cls for cls in _option_classes()}
    text, about = _about(definitions[root].get("description", ""))
    yield from ("", text, "", *_table(definitions[root], about, ["_base_"], say))
    places: dict[str, list[str]] = {}
    _walk(root, definitions, places, "")
    for name, where in places.items():
        if name in done:
            continue
        done.add(name)
        parent = _parent(classes[name])
        if parent and parent.__name__ not in places and parent.__name__ not in done:
            done.add(parent.__name__)
            text, about = _about(parent.__doc__ or "")
            yield from ("", f"### {parent.__name__}", "", text)
            yield from ("", *_table(_options(parent.model_json_schema()), about, ["name"], say))
        options = _options(definitions[name])
        text, about = _about(options.get("description", ""))
        places_of_it = say.and_place.join(f"`{place}`" for place in where)
        yield from ("", f"### {name}", "", say.place.format(places_of_it))
        if text:
            yield from ("", text)
        own = options.get("properties", {}).keys() - _fields(classes[name])
        if own:
            yield from ("", *_table(options, about, _fields(classes[name]), say))
        if parent:
            link = f"[{parent.__name__}](#{_anchor(parent.__name__)})"
            yield from ("", say.inherited.format(link))


def _ignored(say: Language) -> Iterator[str]:
    yield "| " + " | ".join(say.ignored_columns) + " |"
    yield "|---|---|---|"
    for name, options in IGNORED.items():
        for option, (accepted, why) in options.items():
            values = ", ".join(_literal(value) for value in accepted) or say.no_value
            values = say.any_value if accepted == ANY else values
            yield f"| `{name}.{option}` | {values} | {why} |"


def page(say: Language) -> str:
    """Return the text of the page in a language."""
    definitions = json.loads(json_schema())["$defs"]
    done: set[str] = set()
    lines = [say.introduction, say.sections, *_section("Config", definitions, done, say)]
    lines += ["", say.flat_dialect, *_section("FlatConfig", definitions, done, say)]
    lines += ["", say.ignored, *_ignored(say)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parent
    for name, language in PAGES.items():
        (folder / name).write_text(page(language), encoding="utf-8")
