"""Request bodies: size limit and UTF-8 decoding."""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping

from ips_flows.core.errors import BadRequestError, FieldProblem
from ips_flows.core.request.limits import MAX_BYTES
from ips_flows.core.rest.responses import HttpError

SOURCE = "body"  # name of the body in errors
# A client reads the 413 only after it has sent its body, so up to this size the rest is read and dropped.
_STILL_READ = 16 * MAX_BYTES


async def read_body(headers: Mapping[str, str], chunks: AsyncIterable[bytes]) -> bytes:
    """Return the body. Raises HttpError if it is too large or has a content encoding."""
    kind = headers.get("content-encoding", "identity")
    if kind != "identity":
        raise HttpError(415, f"got content encoding {kind[:100]!r}; allowed: none")
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > _STILL_READ:
        raise _too_large()
    data = bytearray()
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size <= MAX_BYTES:
            data += chunk
        elif size > _STILL_READ:
            break
    if size > MAX_BYTES:
        raise _too_large()
    return bytes(data)


def decode_body(data: bytes) -> str:
    """Return the text of a body. Raises BadRequestError, with line and column, if it is not UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = len(data[data.rfind(b"\n", 0, error.start) + 1 : error.start].decode("utf-8")) + 1
        message = f"got the byte 0x{data[error.start]:02x}; allowed: text in UTF-8"
        raise BadRequestError([FieldProblem(SOURCE, line, column, "", message)]) from error


def _too_large() -> HttpError:
    return HttpError(
        413, f"got a body of more than {MAX_BYTES >> 20} MiB; allowed: at most {MAX_BYTES >> 20} MiB"
    )
