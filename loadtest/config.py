"""Locust's side of the configuration: environment variables in, one frozen struct out, read once.

Faults name the variable and its fix; `locustfile.py` prints them as one line and ends with exit code 2.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import msgspec

from contract.topology import NODES_BY_NAME, Endpoints, NodeEndpoint
from loadtest.schedule import DEFAULT_RATE_PER_S

#: A visitor gives up after this; longer than any deadline of the edge, so that the edge answers first.
DEADLINE_S = 5.0

DEFAULT_ENDPOINTS = "runs/up/endpoints.json"

#: Every variable that is read, with what it means: the documentation's table is checked against it.
VARIABLES: dict[str, str] = {
    "BADGATEWAY_ENDPOINTS": f"path of the stack's endpoints (JSON); default {DEFAULT_ENDPOINTS}",
    "BADGATEWAY_SEED": "whole number that decides every request; default 1",
    "BADGATEWAY_RATE": f"requests/s; default {DEFAULT_RATE_PER_S:.0f}",
    "BADGATEWAY_DURATION_S": "seconds of schedule; default: until stopped",
    "BADGATEWAY_LOG_DIR": "existing folder for traffic.jsonl; default: no log",
    "BADGATEWAY_CONSOLE": "base URL of the console; default: the stack's; empty: none",
    "BADGATEWAY_READY_FD": "open descriptor for the ready line; default: none",
}


class ConfigError(Exception):
    """One line for the user."""


class Config(msgspec.Struct, frozen=True):
    """What this process shall do. URLs are bases without a path."""

    nodes: tuple[NodeEndpoint, ...]
    seed: int = 1
    rate_per_s: float = DEFAULT_RATE_PER_S
    duration_s: float | None = None
    log_dir: Path | None = None
    console: str | None = None
    ready_fd: int | None = None
    #: The nodes of a region are asked for again this often, standing in for anycast and DNS.
    resolve_ttl_s: float = 2.0
    ready_timeout_s: float = 1.0
    #: A request that no user could pick up within this is counted unsent and never sent.
    unsent_after_s: float = 1.0
    bucket_s: float = 0.25
    #: The schedule begins when all users are there, or this long after the first one: a slow ramp is no silence.
    begin_within_s: float = 1.0


def load(env: Mapping[str, str]) -> Config:
    """The configuration from environment variables. ConfigError with one line that names the fix."""
    endpoints = _endpoints(Path(env.get("BADGATEWAY_ENDPOINTS") or DEFAULT_ENDPOINTS))
    rate = _number(env, "BADGATEWAY_RATE", float)
    duration = _number(env, "BADGATEWAY_DURATION_S", float)
    if rate is not None and not 0 < rate <= 100_000:
        raise ConfigError(f"BADGATEWAY_RATE={env['BADGATEWAY_RATE']}: give requests/s above 0, for example 150")
    if duration is not None and not 0 < duration < float("inf"):
        raise ConfigError(
            f"BADGATEWAY_DURATION_S={env['BADGATEWAY_DURATION_S']}: give seconds above 0, or unset it"
        )
    seed = _number(env, "BADGATEWAY_SEED", int)
    ready_fd = _number(env, "BADGATEWAY_READY_FD", int)
    return Config(
        nodes=endpoints.nodes,
        seed=1 if seed is None else int(seed),
        rate_per_s=DEFAULT_RATE_PER_S if rate is None else rate,
        duration_s=duration,
        log_dir=_log_dir(env.get("BADGATEWAY_LOG_DIR")),
        console=_console(env.get("BADGATEWAY_CONSOLE"), endpoints.console),
        ready_fd=None if ready_fd is None else int(ready_fd),
    )


def _endpoints(path: Path) -> Endpoints:
    try:
        endpoints = msgspec.json.decode(path.read_bytes(), type=Endpoints)
    except FileNotFoundError:
        raise ConfigError(
            f"{path} is missing: start the stack with `badgateway up`, or set BADGATEWAY_ENDPOINTS"
        ) from None
    except OSError as fault:
        raise ConfigError(f"{path}: {fault.strerror}; set BADGATEWAY_ENDPOINTS to a readable file") from None
    except msgspec.DecodeError as fault:
        raise ConfigError(f"{path} is not an endpoints file ({fault}); `badgateway up` writes one") from None
    if not endpoints.nodes:
        raise ConfigError(f"{path} lists no nodes; `badgateway up` writes a complete one")
    for node in endpoints.nodes:
        if node.name not in NODES_BY_NAME:
            raise ConfigError(f"{path}: no node {node.name!r} in the fleet; known are {', '.join(NODES_BY_NAME)}")
        if urlsplit(node.edge).scheme != "http" or urlsplit(node.admin).scheme != "http":
            raise ConfigError(f"{path}: {node.name} needs http:// URLs for edge and admin")
    return endpoints


def _number(env: Mapping[str, str], name: str, kind: type[int] | type[float]) -> float | None:
    text = env.get(name)
    if not text:
        return None
    try:
        return cast(float, kind(text))
    except ValueError:
        raise ConfigError(f"{name}={text}: not a number ({VARIABLES[name]})") from None


def _log_dir(text: str | None) -> Path | None:
    if not text:
        return None
    if not Path(text).is_dir():
        raise ConfigError(f"BADGATEWAY_LOG_DIR={text}: no such folder; create it first")
    return Path(text)


def _console(text: str | None, from_endpoints: str) -> str | None:
    url = (from_endpoints if text is None else text).rstrip("/")
    if url and urlsplit(url).scheme != "http":
        raise ConfigError(f"BADGATEWAY_CONSOLE={url}: expected http://HOST:PORT, or nothing for none")
    return url or None
