"""Writing JSON with an encoder that is kept: `json` makes its fast one anew at each call."""

import json
from collections.abc import Callable
from json import encoder
from typing import Any


def writer(
    default: Callable[[Any], Any] | None = None,
    *,
    nan: bool = True,
    spaces: bool = False,
    ascii: bool = False,
) -> Callable[[Any], str]:
    """A function that writes values as JSON text.

    `default` makes something else of what JSON does not know; NaN is written only if `nan` says
    so, and else a `ValueError`. With `spaces` there is one after each comma and colon; with
    `ascii` all other characters are escaped. What contains itself is a `RecursionError`.

    >>> writer()({"a": [1, None, "é"]})
    '{"a":[1,null,"é"]}'
    """
    comma, colon = (", ", ": ") if spaces else (",", ":")
    make: Any = getattr(encoder, "c_make_encoder", None)
    if make is None:  # another Python than CPython
        return json.JSONEncoder(
            ensure_ascii=ascii, allow_nan=nan, separators=(comma, colon), default=default
        ).encode
    unknown = default or json.JSONEncoder().default
    text = encoder.encode_basestring_ascii if ascii else encoder.encode_basestring
    chunks = make(None, unknown, text, None, colon, comma, False, False, nan)
    return lambda value: "".join(chunks(value, 0))
