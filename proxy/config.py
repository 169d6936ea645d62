"""A node's settings, read once from the command line into a frozen record. Nothing further in reads flags."""

import argparse
import math
import os
from urllib.parse import urlsplit

import msgspec

from contract.topology import NODES_BY_NAME
from contract.vocabulary import Cohort, FailurePolicy, Standby


class ConfigError(ValueError):
    """A setting that cannot be used; the message is one line and names the fix."""


class Address(msgspec.Struct, frozen=True):
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> "Address":
        """`HOST:PORT`; port 0 lets the system choose. Raises ConfigError."""
        host, colon, port = text.rpartition(":")
        if not colon or not host or not port.isdecimal() or int(port) > 65535:
            raise ConfigError(f"{text!r} is not HOST:PORT, for example 127.0.0.1:8080")
        return cls(host.strip("[]"), int(port))


class NodeConfig(msgspec.Struct, frozen=True):
    """Everything a node is told at its start. Times in seconds, sizes in bytes, quotas in cores."""

    name: str
    pop: str
    region: str
    cohort: Cohort
    listen: Address
    admin: Address
    origin: Address
    deployer: str | None
    rules: str | None
    inspectors: int
    standby: Standby
    on_inspection_failure: FailurePolicy
    #: Both pools together; 0 leaves them as many cores as there are inspectors.
    cpu_quota: float
    #: A user notices a second. With a standby, the primary has half of it.
    inspection_deadline_s: float
    #: Requests waiting for one pool; bounds memory.
    inspection_queue: int
    #: Frames under way to one inspector: enough to keep it busy, few enough to lose with it.
    inspection_window: int
    #: What a body is buffered to before it is inspected; the 2025 WAF read 128 kB.
    inspect_body_bytes: int
    state_dir: str | None
    log_dir: str | None
    ready_fd: int | None


def parse_args(argv: list[str]) -> NodeConfig:
    """Command line to NodeConfig. Raises ConfigError; `--help` and malformed flags end in SystemExit."""
    args = _parser().parse_args(argv)
    spec = NODES_BY_NAME.get(args.name)
    if args.inspectors < 1:
        raise ConfigError(f"--inspectors {args.inspectors}: a node needs at least 1")
    if not 0 <= args.cpu_quota < math.inf:
        raise ConfigError(f"--cpu-quota {args.cpu_quota}: cores, 0 for no limit")
    if not 0 < args.inspect_body_bytes <= 131072:
        raise ConfigError(f"--inspect-body-bytes {args.inspect_body_bytes}: between 1 and 131072")
    if not 0 < args.inspection_deadline < math.inf:
        raise ConfigError(f"--inspection-deadline {args.inspection_deadline}: seconds, above 0")
    if args.rules and not os.path.isfile(args.rules):
        raise ConfigError(f"--rules {args.rules}: no such file")
    if args.ready_fd is not None and not _is_open(args.ready_fd):
        raise ConfigError(f"--ready-fd {args.ready_fd}: no such descriptor")
    return NodeConfig(
        name=args.name,
        pop=args.pop or (spec.pop if spec else "local"),
        region=args.region or (spec.region if spec else "local"),
        cohort=Cohort(args.cohort) if args.cohort else (spec.cohort if spec else Cohort.WORLD),
        listen=Address.parse(args.listen),
        admin=Address.parse(args.admin),
        origin=_origin(args.origin),
        deployer=_deployer(args.deployer),
        rules=args.rules,
        inspectors=args.inspectors,
        standby=Standby(args.standby),
        on_inspection_failure=FailurePolicy(args.on_inspection_failure),
        cpu_quota=args.cpu_quota or float(args.inspectors * (1 if args.standby == "none" else 2)),
        inspection_deadline_s=args.inspection_deadline,
        inspection_queue=64,
        inspection_window=8,
        inspect_body_bytes=args.inspect_body_bytes,
        state_dir=args.state,
        log_dir=args.log_dir,
        ready_fd=args.ready_fd,
    )


def _origin(url: str) -> Address:
    return _http_address("--origin", url)


def _deployer(url: str | None) -> str | None:
    if url is None:
        return None
    address = _http_address("--deployer", url)
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"http://{host}:{address.port}"


def _http_address(flag: str, url: str) -> Address:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme != "http" or parts.path not in ("", "/"):
        raise ConfigError(f"{flag} {url}: an http://HOST[:PORT] is needed")
    return Address(host, 80 if port is None else port)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except (OSError, OverflowError):
        return False
    return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m proxy",
        description="One edge node: proxies every Host to the origin and inspects requests by a rule set.",
        epilog="example: python -m proxy --listen 127.0.0.1:8080 --admin 127.0.0.1:9080"
        " --origin http://127.0.0.1:9000 --rules drills/rulesets/managed.yaml",
    )
    add = parser.add_argument
    add("--listen", default="127.0.0.1:8080", metavar="HOST:PORT", help="where clients connect")
    add("--admin", default="127.0.0.1:9080", metavar="HOST:PORT", help="/status, /metrics, /ready")
    add("--origin", required=True, metavar="URL", help="where requests are proxied to")
    add("--rules", metavar="FILE", help="rule set to start with (YAML)")
    add("--inspectors", type=int, default=1, metavar="N", help="inspectors in each pool (default 1)")
    add("--standby", choices=list(Standby), default="same", help="what the standby pool holds")
    add("--on-inspection-failure", choices=list(FailurePolicy), default="bad_gateway")
    add("--cpu-quota", type=float, default=0.0, metavar="CORES", help="share of a core for all inspectors")
    add("--inspection-deadline", type=float, default=1.0, metavar="SECONDS")
    add("--inspect-body-bytes", type=int, default=8192, metavar="BYTES")
    add("--deployer", metavar="URL", help="whose control stream to join")
    add("--name", default="node-1", help="a name of the default fleet brings its PoP, region and cohort")
    add("--pop")
    add("--region")
    add("--cohort", choices=list(Cohort))
    add("--state", metavar="DIR", help="where the last known good rule set is kept")
    add("--log-dir", metavar="DIR", help="where access-NAME.jsonl is written")
    add("--ready-fd", type=int, metavar="FD", help="announce readiness on this descriptor")
    return parser
