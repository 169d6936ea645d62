"""One question over HTTP with a time-out, and how long its answer took."""

import time
from typing import TypeVar

import aiohttp
import msgspec

T = TypeVar("T")

#: All the ways in which a process can fail to give a good answer.
NO_ANSWER = (aiohttp.ClientError, TimeoutError, OSError, ValueError)


class BadAnswer(ValueError):
    """It answered, but not with what was asked for."""


async def get(
    session: aiohttp.ClientSession, url: str, timeout_s: float, headers: dict[str, str] | None = None
) -> tuple[int, bytes, float]:
    """(status, body, milliseconds). Redirects are not followed. Raises one of NO_ANSWER."""
    begun = time.monotonic()
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    async with session.get(url, timeout=timeout, headers=headers, allow_redirects=False) as response:
        body = await response.read()
    return response.status, body, (time.monotonic() - begun) * 1000


async def get_json(session: aiohttp.ClientSession, url: str, timeout_s: float, type_: type[T]) -> tuple[T, float]:
    """(answer, milliseconds). Raises one of NO_ANSWER, also for another status than 200 or another shape."""
    status, body, ms = await get(session, url, timeout_s)
    if status != 200:
        raise BadAnswer(f"{url} answered {status}")
    try:
        return msgspec.json.decode(body, type=type_), ms
    except msgspec.MsgspecError as fault:
        raise BadAnswer(f"{url}: {fault}") from None
