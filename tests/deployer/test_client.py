"""The client's errors: whose fault, and whether it may have happened all the same."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from aiohttp import web

from contract.messages import RolloutRequest
from contract.vocabulary import EventKind
from deployer.client import DeployerClient, DeployerError

Serve = Callable[..., AbstractAsyncContextManager[Any]]


async def test_typed_calls(serve: Serve) -> None:
    async with serve("ams-1") as lab:
        (stored,) = await lab.client.rule_sets()
        assert stored.name == "first"
        assert (await lab.client.fleet()).desired == stored.ref
        assert await lab.client.rollouts() == []


async def test_a_refusal_is_definite_and_names_what_was_meant(serve: Serve) -> None:
    async with serve("ams-1") as lab:
        (stored,) = await lab.client.rule_sets()
        with pytest.raises(DeployerError, match="no stored rule set") as fault:
            await lab.client.start_rollout(RolloutRequest(stored.ref.digest[:9], "eve"))
    assert (fault.value.status, fault.value.definite) == (404, True)
    assert fault.value.nearest == (stored.ref.digest,)


async def test_nobody_there_is_one_line_with_the_url(unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}"
    async with DeployerClient(url) as client:
        with pytest.raises(DeployerError, match=f"no deployer answers at {url} ") as fault:
            await client.fleet()
    assert fault.value.definite
    assert "\n" not in fault.value.message


@pytest.mark.parametrize("trouble", ["hangs", "hangs up", "stranger", "fails"])
async def test_without_a_clear_answer_it_may_have_happened(trouble: str) -> None:
    over = asyncio.Event()

    async def _answer(request: web.Request) -> web.Response:
        if trouble == "hangs":
            await over.wait()
        if trouble == "hangs up":
            assert request.transport is not None
            request.transport.abort()
        return web.Response(text="hello", status=500 if trouble == "fails" else 200)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", _answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        async with DeployerClient(f"http://{host}:{port}", timeout_s=0.2) as client:
            with pytest.raises(DeployerError) as fault:
                await client.kill_switch(True, "eve")
    finally:
        over.set()
        await runner.cleanup()
    assert not fault.value.definite


async def test_a_long_poll_ends_with_the_next_entry(serve: Serve) -> None:
    async with serve("ams-1") as lab:
        last = (await lab.client.journal())[-1].seq
        waiting = asyncio.ensure_future(lab.client.journal(last, wait_s=30))
        await lab.client.kill_switch(True, "eve")
        (entry,) = await asyncio.wait_for(waiting, 5)
        assert (entry.kind, entry.data["on"], entry.data["by"]) == (EventKind.KILL_SWITCH, True, "eve")
        assert await lab.client.journal(entry.seq, wait_s=0.01) == []
