"""The HTTP routes as a stranger meets them: bodies, statuses, one-line errors."""

import io
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import aiohttp
import msgspec
import pytest

from contract.messages import ApiError, FleetView, RolloutView, StoredRuleSet
from contract.metrics import DEPLOYER_EPOCH, DEPLOYER_NODES, DEPLOYER_ROLLOUTS
from contract.record import JournalEntry
from rules.parse import digest_of

Serve = Callable[..., AbstractAsyncContextManager[Any]]
SECOND = b"name: second\nrules:\n  - {id: r-1, pattern: 'b', targets: [uri]}\n"


@pytest.fixture
async def lab(serve: Serve) -> AsyncIterator[Any]:
    async with serve("ams-1") as running:
        await running.join("ams-1")
        yield running


class Http:
    def __init__(self, base_url: str, session: aiohttp.ClientSession) -> None:
        self._base_url, self._session = base_url, session

    async def __call__(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        content = body if isinstance(body, bytes) or body is None else msgspec.json.encode(body)
        data = None if content is None else io.BytesIO(content)
        async with self._session.request(method, self._base_url + path, data=data, headers=headers) as answer:
            return answer.status, await answer.read()


@pytest.fixture
async def http(lab: Any) -> AsyncIterator[Http]:
    async with aiohttp.ClientSession() as session:
        yield Http(lab.base_url, session)


async def test_rule_sets_are_stored_once(http: Http) -> None:
    status, body = await http("POST", "/api/v1/rulesets", SECOND)
    stored = msgspec.json.decode(body, type=StoredRuleSet)
    assert status == 200
    assert (stored.ref.version, stored.ref.digest, stored.name, stored.rules) == (
        2,
        digest_of(SECOND),
        "second",
        1,
    )
    assert await http("POST", "/api/v1/rulesets", SECOND) == (200, body)
    _, listed = await http("GET", "/api/v1/rulesets")
    assert [one.ref.version for one in msgspec.json.decode(listed, type=list[StoredRuleSet])] == [1, 2]


async def test_a_rollout_is_answered_and_listed(http: Http, lab: Any) -> None:
    await http("POST", "/api/v1/rulesets", SECOND)
    status, body = await http("POST", "/api/v1/rollouts", {"digest": digest_of(SECOND), "by": "eve"})
    view = msgspec.json.decode(body, type=RolloutView)
    assert status == 200
    assert (view.id, view.target.version, view.previous.version, view.by) == (1, 2, 1, "eve")
    await lab.state("baking")
    _, listed = await http("GET", "/api/v1/rollouts")
    (again,) = msgspec.json.decode(listed, type=list[RolloutView])
    assert (again.id, again.state, again.confirmed, again.waiting_for) == (1, "baking", ("ams-1",), ())
    status, body = await http("POST", "/api/v1/rollouts/1/pause", {"by": "eve"})
    assert msgspec.json.decode(body, type=RolloutView).state == "holding"
    _, body = await http("POST", "/api/v1/rollouts/1/abort", {"by": "eve", "reason": "enough"})
    await lab.state("reverted")
    assert lab.nodes["ams-1"].version == 1


async def test_a_gate_that_became_stricter_refuses_at_the_start(
    http: Http, lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal is an answer and a rollout of its own in the list."""
    from deployer import gates
    from rules.model import RuleSetError

    def _no(_: object) -> None:
        raise RuleSetError("rule r-1 is too dear")

    await http("POST", "/api/v1/rulesets", SECOND)
    monkeypatch.setattr(gates, "GATES", (*gates.GATES, gates.Gate("cost", _no)))
    status, body = await http("POST", "/api/v1/rollouts", {"digest": digest_of(SECOND), "by": "eve"})
    assert (status, msgspec.json.decode(body)["error"]) == (422, "cost gate: rule r-1 is too dear")
    _, listed = await http("GET", "/api/v1/rollouts")
    (view,) = msgspec.json.decode(listed, type=list[RolloutView])
    assert (view.state, view.reason, view.waiting_for) == ("refused", "cost gate: rule r-1 is too dear", ())
    assert lab.driver.plan.desired.version == 1


_DIGEST = digest_of(SECOND)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words", "nearest"),
    [
        ("POST", "/api/v1/rulesets", b"name: x\nrules: 3\n", 422, "schema gate: .*`\\$.rules`", ""),
        ("POST", "/api/v1/rulesets", SECOND.replace(b"'b'", b"'('"), 422, "rule r-1: .* at position 0", ""),
        ("POST", "/api/v1/rulesets", b"#" * (8 << 20 | 1), 413, "rulesets", ""),
        ("POST", "/api/v1/rollouts", {"digest": _DIGEST[:8], "by": "e"}, 404, "no stored rule set", _DIGEST),
        ("POST", "/api/v1/rollouts", {"digest": _DIGEST[:-1] + "-", "by": "e"}, 404, "no stored", _DIGEST),
        ("POST", "/api/v1/rollouts", {"digest": _DIGEST, "by": " "}, 422, "who asks.*`\\$.by`", ""),
        ("POST", "/api/v1/rollouts", {"digest": _DIGEST, "by": "e", "strategy": "staged"}, 422,
         "available now: everywhere", "everywhere"),
        ("POST", "/api/v1/rollouts", {"digest": _DIGEST, "by": "e", "strategy": "x"}, 422, "`\\$.strategy`", ""),
        ("POST", "/api/v1/rollouts", {"digest": _DIGEST, "by": "e", "guard": {"above": 1.5}}, 422,
         "between 0 and 1 - at `\\$.guard.above`", ""),
        ("POST", "/api/v1/rollouts", {"digest": _DIGEST, "by": "e", "guard": {"for_s": -1}}, 422,
         "`\\$.guard.for_s`", ""),
        ("POST", "/api/v1/rollouts", {"digest": _DIGEST, "by": "e", "gard": None}, 422,
         "unknown field `gard`", ""),
        ("POST", "/api/v1/rollouts", b"{", 400, "not JSON", ""),
        ("POST", "/api/v1/rollback", {"by": "e", "to_version": 9}, 404, "has version 9", "v2"),
        ("POST", "/api/v1/rollback", {"by": "e"}, 409, "v1 is what every node is told to run already", ""),
        ("POST", "/api/v1/rollouts/4/pause", {"by": "e"}, 404, "rollout 4 is not the latest one", ""),
        ("POST", "/api/v1/rollouts/4/pawse", {"by": "e"}, 404, "no verb 'pawse'", "pause"),
        ("POST", "/api/v1/rollouts/x/pause", {"by": "e"}, 400, "whole number", ""),
        ("GET", "/api/v1/journal?after=-1", None, 400, "after must be a whole number", ""),
        ("GET", "/api/v1/journal?wait_s=nan", None, 400, "wait_s must be a number", ""),
        ("GET", "/api/v1/flet", None, 404, "nothing at /api/v1/flet", "/api/v1/fleet"),
        ("DELETE", "/api/v1/fleet", None, 405, "Method Not Allowed", ""),
    ],
)  # fmt: skip
async def test_errors_are_one_line_and_change_nothing(
    http: Http, lab: Any, method: str, path: str, body: object, status: int, words: str, nearest: str
) -> None:
    await http("POST", "/api/v1/rulesets", SECOND)
    before = (lab.driver.plan, lab.driver.rollout, len(await lab.journal()))
    got, answer = await http(method, path, body)
    error = msgspec.json.decode(answer, type=ApiError)
    assert got == status, error
    assert_matches(words, error.error)
    assert "\n" not in error.error
    assert not nearest or nearest in error.nearest, error
    assert (lab.driver.plan, lab.driver.rollout, len(await lab.journal())) == before


def assert_matches(pattern: str, text: str) -> None:
    assert re.search(pattern, text), text


async def test_one_rollout_at_a_time(http: Http, lab: Any) -> None:
    await lab.ship()
    third = SECOND.replace(b"second", b"third")
    await http("POST", "/api/v1/rulesets", third)
    status, body = await http("POST", "/api/v1/rollouts", {"digest": digest_of(third), "by": "eve"})
    assert status == 409
    assert "one rollout at a time" in msgspec.json.decode(body)["error"]
    status, body = await http("POST", "/api/v1/rollouts", {"digest": digest_of(SECOND), "by": "eve"})
    assert status == 409


async def test_no_rollout_while_the_kill_switch_is_on(http: Http, lab: Any) -> None:
    status, body = await http("POST", "/api/v1/kill-switch", {"on": True, "by": "eve"})
    assert status == 200
    assert msgspec.json.decode(body, type=FleetView).kill_switch
    await lab.confirmed("ams-1")
    assert lab.nodes["ams-1"].kill_switch
    await http("POST", "/api/v1/rulesets", SECOND)
    status, body = await http("POST", "/api/v1/rollouts", {"digest": digest_of(SECOND), "by": "eve"})
    assert status == 409
    assert "kill switch is on" in msgspec.json.decode(body)["error"]


async def test_browsers_are_kept_out(http: Http, lab: Any) -> None:
    """A page that somebody has open must not be able to order a rollback, or to pose as a node."""
    for method, path in (("POST", "/api/v1/kill-switch"), ("GET", "/control"), ("GET", "/api/v1/fleet")):
        status, body = await http(method, path, {"on": True, "by": "x"}, {"Origin": "http://evil.example"})
        assert status == 403
        assert "no orders from web pages" in msgspec.json.decode(body)["error"]
    assert not lab.driver.plan.kill_switch


async def test_health_and_metrics(http: Http, lab: Any) -> None:
    await lab.ship()
    await lab.state("baking")
    assert await http("GET", "/healthz") == (200, b'{"status":"ok","epoch":2}')
    _, body = await http("GET", "/metrics")
    lines = body.decode().splitlines()
    assert f"{DEPLOYER_NODES} 1.0" in lines
    assert f"{DEPLOYER_EPOCH} 2.0" in lines
    assert f'{DEPLOYER_ROLLOUTS}{{state="baking"}} 1.0' in lines
    assert f'{DEPLOYER_ROLLOUTS}{{state="reverted"}} 0.0' in lines


async def test_the_journal_is_read_from_where_one_was(http: Http, lab: Any) -> None:
    _, body = await http("GET", "/api/v1/journal")
    entries = msgspec.json.decode(body, type=list[JournalEntry])
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    assert all(0 <= entry.age_s < 60 for entry in entries)
    _, body = await http("GET", f"/api/v1/journal?after={entries[-2].seq}")
    assert [one.seq for one in msgspec.json.decode(body, type=list[JournalEntry])] == [entries[-1].seq]
