"""Write untrusted text into Markdown and into the YAML head of a model card: it stays text and cannot add markup."""

import json
import re

from firstlight.escaping import escape

# What begins markup within a line: of CommonMark, of tables, links, formulas, mentions, and shortcuts of GitHub's kind.
_MARKUP = re.compile(r"[\\`*_\[\]<>&|~$@]|:(?=\S)|(?<=www)\.", re.IGNORECASE)
_BLOCK = re.compile(r"\A(\d*)([-+#=]|(?<=\d)[.)](?=\s|\Z))")  # what begins a heading, a list, or a line across the page


def in_markdown(text: str) -> str:
    """Return a text as it has to be written within a line of Markdown to be shown as it stands, without line ends.

    Spaces around it are lost.
    """
    text = _MARKUP.sub(r"\\\g<0>", escape(text).strip())
    return _BLOCK.sub(r"\1\\\2", text)


def in_yaml(text: str) -> str:
    """Return a text as a quoted scalar of YAML; what cannot be printed is written by its code.

    JSON's escapes of quotes and backslashes are YAML's as well; those of other characters are not.
    """
    return json.dumps(escape(text), ensure_ascii=False)
