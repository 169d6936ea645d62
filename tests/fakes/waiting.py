"""Waiting for a condition, with a deadline and a message."""

import asyncio
from collections.abc import Callable


async def eventually(condition: Callable[[], object], what: str, within_s: float = 5.0) -> None:
    """Return once `condition()` is true; fail naming `what` after `within_s`."""
    try:
        async with asyncio.timeout(within_s):
            while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"not within {within_s:g} s: {what}") from None
