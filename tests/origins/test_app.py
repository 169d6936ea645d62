import asyncio
import hashlib
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import msgspec
import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request

from contract.metrics import ORIGIN_REQUESTS
from contract.record import OriginLogLine
from contract.sites import ORIGIN_HEADER
from origins.access_log import AccessLog
from origins.app import MAX_BODY_BYTES, Origins, Status
from origins.sites import SITES

Client = TestClient[Request, Application]


@pytest.fixture
def log_path(tmp_path: Path) -> Path:
    return tmp_path / "origins.jsonl"


@pytest.fixture
async def client(log_path: Path) -> AsyncIterator[Client]:
    async with TestClient(TestServer(Origins(1, AccessLog(log_path)).application())) as client:
        yield client


async def status_of(client: Client) -> Status:
    return msgspec.json.decode(await (await client.get("/-/status")).read(), type=Status)


async def test_the_host_chooses_the_site(client: Client) -> None:
    for site in (SITES[0], SITES[1], SITES[-1]):
        answer = await client.get("/", headers={"Host": site.host})
        assert answer.status == 200
        assert answer.headers[ORIGIN_HEADER] == site.host
        assert f" · {site.host} · " in await answer.text()


async def test_an_unknown_host_is_answered_and_an_unknown_path_is_404(client: Client) -> None:
    assert (await client.get("/", headers={"Host": "nobody.example"})).status == 200
    missing = await client.get("/nothing-of-that-name")
    assert missing.status == 404
    assert ORIGIN_HEADER in missing.headers


async def test_head_has_the_length_of_get_and_no_body(client: Client) -> None:
    head, get = await client.head("/"), await client.get("/")
    assert await head.read() == b""
    assert head.headers["Content-Length"] == get.headers["Content-Length"] == str(len(await get.read()))


async def test_a_body_arrives_whole_and_a_nonce_comes_back(client: Client) -> None:
    body = bytes(range(256)) * 80
    answer = await client.post("/upload", data=body, headers={"X-Nonce": "n-1"})
    assert answer.headers["X-Nonce"] == "n-1"
    assert (await answer.json())["sha256"] == hashlib.sha256(body).hexdigest()


async def test_a_body_over_the_limit_is_refused_by_the_origin_and_is_no_error(client: Client) -> None:
    answer = await client.post("/upload", data=BytesIO(b"x" * (MAX_BODY_BYTES + 1)))
    assert answer.status == 413
    assert ORIGIN_HEADER in answer.headers
    assert (await status_of(client)).errors == 0


async def test_status_and_metrics_count_what_sites_answered_and_not_themselves(client: Client) -> None:
    assert (await client.get("/healthz")).status == 200
    before = await status_of(client)
    assert (before.requests, before.errors, before.sites) == (0, 0, len(SITES))
    await client.get("/", headers={"Host": "shop.example"})
    await client.get("/nothing", headers={"Host": "shop.example"})
    after = await status_of(client)
    assert (after.requests, after.errors) == (2, 0)
    assert after.uptime_s > 0
    metrics = await (await client.get("/-/metrics")).text()
    assert f'{ORIGIN_REQUESTS}{{kind="shop",status="200"}} 1.0' in metrics
    assert f'{ORIGIN_REQUESTS}{{kind="shop",status="404"}} 1.0' in metrics


async def test_an_answer_that_fails_counts_as_the_origins_error(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("origins.answers.Answers.answer", broken)
    assert (await client.get("/")).status == 500
    assert (await status_of(client)).errors == 1


async def test_every_request_is_one_line_of_the_log_with_both_ids(client: Client, log_path: Path) -> None:
    headers = {"Host": "api.example", "X-Request-Id": "e-9", "X-Client-Request-Id": "7-000001"}
    await client.get("/api/items/12?full", headers=headers)
    await client.close()
    (line,) = (await asyncio.to_thread(log_path.read_bytes)).splitlines()
    logged = msgspec.json.decode(line, type=OriginLogLine)
    assert (logged.request_id, logged.client_id) == ("e-9", "7-000001")
    assert (logged.site, logged.method, logged.uri, logged.status) == (
        "api.example",
        "GET",
        "/api/items/12?full",
        200,
    )
    assert logged.ms > 1
