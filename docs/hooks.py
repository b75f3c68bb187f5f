"""What the site does beyond its plugins."""

import re
from typing import Any

_CHINESE = r"[\u3001-\u303f\u4e00-\u9fff\uff01-\uff5e]"
_CODE_OR_LINE_END = re.compile(rf"(<pre.*?</pre>)|(?<={_CHINESE})\n *(?={_CHINESE})", re.DOTALL)


def on_page_content(html: str, **_: Any) -> str:
    """Join the lines of Chinese paragraphs; a browser would show a space at each line's end."""
    return _CODE_OR_LINE_END.sub(lambda found: found[1] or "", html)
