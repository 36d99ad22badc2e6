"""The frame of a page: one HTML document that needs nothing, asks nobody, and runs only our script.

Its policy (CSP) forbids all but the script and the style whose digests it names.
"""

import hashlib
import json
from base64 import b64encode
from collections.abc import Iterable
from importlib.resources import files
from string import Template
from typing import Any

from loopwright.show.markup import escaped


def page(title: str, body: str, data: Iterable[tuple[str, Any]], script: str) -> str:
    """An HTML document: `body` is markup, `data` are values by the id of the element that holds
    them, and `script` is the name of a file beside this one."""
    code, look = _file(script), _file("look.css")
    held = "".join(
        f'<script type="application/json" id="{id}">{_held(d)}</script>' for id, d in data
    )
    return Template(_file("frame.html")).substitute(
        title=escaped(title),
        script_digest=_digest(code),
        style_digest=_digest(look),
        style=look,
        body=body,
        data=held,
        script=code,
    )


def _file(name: str) -> str:
    return files("loopwright.show").joinpath(name).read_text("utf-8")


def _digest(text: str) -> str:
    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _held(data: Any) -> str:
    """JSON in which nothing can end the element that holds it: ASCII, without ``<``."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
