"""What the site does beyond its plugins."""

import re
from html import escape, unescape
from pathlib import Path
from typing import Any

_CHINESE = r"[\u3001-\u303f\u4e00-\u9fff\uff01-\uff5e]"
_CODE_OR_LINE_END = re.compile(rf"(<pre.*?</pre>)|(?<={_CHINESE})\n *(?={_CHINESE})", re.DOTALL)
TABLE = re.compile(r"<table>.*?</table>", re.DOTALL)
_CELL = re.compile(r"<(t[hd])([^>]*)>(.*?)</\1>", re.DOTALL)
# Characters that fit beside each other, in the type of stylesheets/extra.css: on a phone of 390
# pixels, and on a page between its two menus.
PHONE, PAGE = 54, 80


def on_config(config: Any) -> None:
    """Add the pages of the families to the navigation; their titles are on them."""
    pages = sorted(path.name for path in Path(config.docs_dir, "models").glob("*.md"))
    pages = [name for name in pages if name != "index.md" and not name.endswith(".zh.md")]
    (models,) = (entry["Models"] for entry in config.nav if "Models" in entry)
    # Set, not appended: each language is built from this configuration.
    models[1:] = [f"models/{name}" for name in pages]


def on_page_content(html: str, **_: Any) -> str:
    """Join the lines of Chinese paragraphs; a browser would show a space at each line's end.

    Tables too wide for a phone are marked, for the style sheet to show their rows as lists there.
    """
    html = _CODE_OR_LINE_END.sub(lambda found: found[1] or "", html)
    # Those of the same columns look the same: the page of the configuration has a hundred.
    wide = {tuple(_heads(table)) for table in TABLE.findall(html) if least_width(table) > PHONE}
    return TABLE.sub(
        lambda found: _stacked(found[0]) if tuple(_heads(found[0])) in wide else found[0], html
    )


def _text(html: str) -> str:
    return unescape(re.sub(r"<[^>]*>", "", html)).strip()


def _heads(table: str) -> list[str]:
    return [_text(html) for tag, _, html in _CELL.findall(table) if tag == "th"]


def least_width(table: str) -> int:
    """Return how many characters wide a table is at least: the longest word of each column.

    Lines of Chinese end anywhere, but not before a full stop as in `./run`. Two characters more a
    column are its margins.
    """
    columns = len(_heads(table))
    cells = [
        re.split(rf"\s+|(?<=-)|{_CHINESE}(?!\.)", _text(html)) for *_, html in _CELL.findall(table)
    ]
    longest = [max(map(len, words)) for words in cells]
    return sum(max(longest[i::columns]) + 2 for i in range(columns))


def _stacked(table: str) -> str:
    """Return a table in a box of the class `stacked`, each cell with the head of its column."""
    labels = [f' data-label="{escape(head)}"' if head else "" for head in _heads(table)]
    head, body, rows = table.partition("<tbody>")
    count = iter(range(len(rows)))
    rows = _CELL.sub(
        lambda found: f"<td{labels[next(count) % len(labels)]}{found[2]}>{found[3]}</td>", rows
    )
    return f'<div class="stacked">{head}{body}{rows}</div>'
