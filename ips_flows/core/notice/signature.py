"""Signatures of webhook requests: the headers of Standard Webhooks, and DingTalk's signature in the URL.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from datetime import datetime
from urllib.parse import quote, urlsplit, urlunsplit

_PREFIX = "whsec_"


def signing_key(secret: str) -> bytes:
    """Return the key of a secret: `whsec_` and base64, or the text itself. ValueError if it is invalid or empty."""
    text = secret.strip()
    if not text.startswith(_PREFIX):
        key = text.encode()
    else:
        try:
            key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
        except binascii.Error as error:
            raise ValueError(
                f"got {_PREFIX}… with invalid base64; allowed: {_PREFIX} followed by base64"
            ) from error
    if not key:
        raise ValueError("got an empty key; allowed: any text, or whsec_ followed by base64")
    return key


def headers(body: bytes, *, message_id: str, at: datetime, key: bytes | None) -> dict[str, str]:
    """Return the headers of one try: ID, time, and a signature if there is a key."""
    stamp = str(int(at.timestamp()))
    found = {"webhook-id": message_id, "webhook-timestamp": stamp}
    if key is not None:
        signed = hmac.new(key, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256).digest()
        found["webhook-signature"] = f"v1,{base64.b64encode(signed).decode()}"
    return found


def dingtalk_url(url: str, *, at: datetime, secret: str) -> str:
    """Return a robot's URL with the signature in the query, as DingTalk requires (https://open.dingtalk.com)."""
    secret = secret.strip()
    stamp = str(int(at.timestamp() * 1000))
    signed = hmac.new(secret.encode(), f"{stamp}\n{secret}".encode(), hashlib.sha256).digest()
    sign = quote(base64.b64encode(signed).decode(), safe="")
    parts = urlsplit(url)
    query = f"{parts.query}&" if parts.query else ""
    return urlunsplit(parts._replace(query=f"{query}timestamp={stamp}&sign={sign}"))
