"""What a board shows, as Jupyter's MIME bundles."""

import base64
import json
from typing import Any, NoReturn

from ukernel.protocol import values

__all__ = ["mime_bundle"]

# The board names a kind; what front ends call it is the host's business. Without a kind it is a repr.
_MIME = {
    b"html": "text/html",
    b"markdown": "text/markdown",
    b"svg": "image/svg+xml",
    b"png": "image/png",
    b"jpeg": "image/jpeg",
    b"json": "application/json",
    b"value": values.MIME,
    b"novalue": values.NO_MIME,
    b"generator": values.GENERATOR,
}


def mime_bundle(content: bytes) -> dict[str, Any]:
    """Return ``{"data": {MIME type: …}, "metadata": {}}`` for a message's content: a kind, a newline, the data.

    For front ends that show text alone there is always a text as well. What is no JSON by its rules (a NaN in it, say) is text
    only. Raises ValueError for an unknown kind.
    """
    kind, _, data = content.partition(b"\n")
    if not kind:
        return {"data": {"text/plain": data.decode("utf-8", "replace")}, "metadata": {}}
    mime = _MIME.get(kind)
    if mime is None:
        raise ValueError(f"a board shows a {kind!r}")
    if mime in ("image/png", "image/jpeg", values.MIME, values.NO_MIME):
        value: object = base64.b64encode(data).decode("ascii")
    elif kind == b"json":
        try:
            value = json.loads(data, parse_constant=_refuse)
        except (ValueError, RecursionError):
            return mime_bundle(b"\n" + data)
    else:
        value = data.decode("utf-8", "replace")
    plain = data.decode("utf-8", "replace") if kind in (b"markdown", b"json") else f"<{mime}, {len(data):,} bytes>"
    return {"data": {mime: value, "text/plain": plain}, "metadata": {}}


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
