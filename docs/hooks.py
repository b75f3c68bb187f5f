"""What the site does beyond its plugins."""

from typing import Any

_IN_ENGLISH = "!!! note\n    本页尚无中文版。以下是英文原文。\n\n"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Say on a page of the Chinese site that it is in English, where nobody has translated it."""
    file = page.file
    untranslated = file.dest_uri.startswith("zh/") and not file.src_uri.endswith(".zh.md")
    return _IN_ENGLISH + markdown if untranslated else markdown
