"""The one door to a deployer for everybody else: its HTTP API as typed calls.

Errors say what may follow: `definite` means that nothing was changed. A call that timed out may have
happened; ask for the state, do not guess.
"""

import io
from types import TracebackType
from typing import Any, TypeVar

import aiohttp
import msgspec

from contract.messages import (
    ApiError,
    FleetView,
    KillSwitchRequest,
    RollbackRequest,
    RolloutRequest,
    RolloutView,
    StoredRuleSet,
    VerbRequest,
)
from contract.record import JournalEntry

#: Above the deployer's own limit for its gates.
TIMEOUT_S = 30.0

_T = TypeVar("_T")


class DeployerError(Exception):
    """One line. `status`: None without an HTTP answer. `nearest`: what may have been meant."""

    def __init__(
        self, message: str, status: int | None = None, definite: bool = True, nearest: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.definite = definite
        self.nearest = nearest


class DeployerClient:
    """`async with DeployerClient("http://127.0.0.1:8070") as deployer`. Every method raises DeployerError."""

    def __init__(self, base_url: str, timeout_s: float = TIMEOUT_S) -> None:
        self.base_url = base_url.rstrip("/")
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "DeployerClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def put_rule_set(self, yaml: bytes) -> StoredRuleSet:
        """Store a set; the same bytes are the same version."""
        return await self._call("POST", "/api/v1/rulesets", StoredRuleSet, yaml, "application/yaml")

    async def rule_sets(self) -> list[StoredRuleSet]:
        """Oldest first."""
        return await self._call("GET", "/api/v1/rulesets", list[StoredRuleSet])

    async def start_rollout(self, request: RolloutRequest) -> RolloutView:
        return await self._post("/api/v1/rollouts", RolloutView, request)

    async def rollouts(self) -> list[RolloutView]:
        """Oldest first, at most the last 100."""
        return await self._call("GET", "/api/v1/rollouts", list[RolloutView])

    async def operate(self, rollout_id: int, verb: str, request: VerbRequest) -> RolloutView:
        """`verb`: pause, resume, promote or abort."""
        return await self._post(f"/api/v1/rollouts/{rollout_id}/{verb}", RolloutView, request)

    async def rollback(self, request: RollbackRequest) -> RolloutView:
        return await self._post("/api/v1/rollback", RolloutView, request)

    async def kill_switch(self, on: bool, by: str) -> FleetView:
        return await self._post("/api/v1/kill-switch", FleetView, KillSwitchRequest(on, by))

    async def fleet(self) -> FleetView:
        return await self._call("GET", "/api/v1/fleet", FleetView)

    async def journal(self, after: int = 0, wait_s: float = 0.0) -> list[JournalEntry]:
        """Entries above `after`, at most 1,000; waits up to `wait_s` (30 at most) seconds for the first."""
        path = f"/api/v1/journal?after={after}&wait_s={wait_s:g}"
        return await self._call("GET", path, list[JournalEntry], wait_s=wait_s)

    async def _post(self, path: str, kind: type[_T], request: msgspec.Struct) -> _T:
        return await self._call("POST", path, kind, msgspec.json.encode(request), "application/json")

    async def _call(
        self,
        method: str,
        path: str,
        kind: type[_T],
        body: bytes | None = None,
        content_type: str | None = None,
        wait_s: float = 0.0,
    ) -> _T:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        headers = {} if content_type is None else {"Content-Type": content_type}
        timeout_s = self._timeout_s + wait_s
        limit = aiohttp.ClientTimeout(total=timeout_s)
        url = self.base_url + path
        data = None if body is None else io.BytesIO(body)  # aiohttp warns of large bytes
        try:
            async with self._session.request(method, url, data=data, headers=headers, timeout=limit) as answer:
                content = await answer.read()
        except (aiohttp.ClientConnectorError, aiohttp.InvalidURL) as fault:
            raise DeployerError(f"no deployer answers at {self.base_url} ({_cause(fault)})") from None
        except (aiohttp.ClientError, TimeoutError) as fault:
            what = f"no answer within {timeout_s:g} s" if isinstance(fault, TimeoutError) else _cause(fault)
            message = f"{method} {url}: {what}; it may have happened, so ask for the state"
            raise DeployerError(message, definite=method == "GET") from None
        if answer.status >= 400:
            raise _refused(answer.status, content, f"{method} {url}")
        return _decode(content, kind, f"{method} {url}")


def _cause(fault: Exception) -> str:
    inner: Any = getattr(fault, "os_error", None)
    return str(getattr(inner, "strerror", None) or inner or fault or type(fault).__name__)


def _refused(status: int, content: bytes, call: str) -> DeployerError:
    try:
        error = msgspec.json.decode(content, type=ApiError)
    except msgspec.MsgspecError:
        return DeployerError(f"{call}: HTTP {status}, and the answer is not the deployer's", status, status < 500)
    return DeployerError(error.error, status, status < 500, error.nearest)


def _decode(content: bytes, kind: type[_T], call: str) -> _T:
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.MsgspecError as fault:
        raise DeployerError(f"{call}: the answer is not the deployer's ({fault})", definite=False) from None
