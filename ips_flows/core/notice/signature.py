"""Signatures of webhook requests: the headers of Standard Webhooks, and DingTalk's own.

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
    """The key of a secret: `whsec_` and base64, or the text itself. ValueError if it is malformed or empty."""
    text = secret.strip()
    if not text.startswith(_PREFIX):
        key = text.encode()
    else:
        try:
            key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
        except binascii.Error as error:
            raise ValueError(
                f"got {_PREFIX}… that is not base64; allowed: base64 behind {_PREFIX}"
            ) from error
    if not key:
        raise ValueError("got an empty key; allowed: a text, or base64 behind whsec_")
    return key


def headers(body: bytes, *, message_id: str, at: datetime, key: bytes | None) -> dict[str, str]:
    """The headers of one try: id and time, and a signature if there is a key."""
    stamp = str(int(at.timestamp()))
    found = {"webhook-id": message_id, "webhook-timestamp": stamp}
    if key is not None:
        signed = hmac.new(key, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256).digest()
        found["webhook-signature"] = f"v1,{base64.b64encode(signed).decode()}"
    return found


def dingtalk_url(url: str, *, at: datetime, secret: str) -> str:
    """A robot's URL with its signature, which DingTalk wants in the query (https://open.dingtalk.com)."""
    secret = secret.strip()
    stamp = str(int(at.timestamp() * 1000))
    signed = hmac.new(secret.encode(), f"{stamp}\n{secret}".encode(), hashlib.sha256).digest()
    sign = quote(base64.b64encode(signed).decode(), safe="")
    parts = urlsplit(url)
    query = f"{parts.query}&" if parts.query else ""
    return urlunsplit(parts._replace(query=f"{query}timestamp={stamp}&sign={sign}"))
