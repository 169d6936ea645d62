"""`python -m locust -f loadtest/locustfile.py`: the composition root of the traffic.

Reads the configuration, registers for Locust's events, and lets `traffic.py` do the rest. Works with the web
page and headless; one process carries the whole schedule, so Locust's workers are refused.
"""

import os
import sys
from collections.abc import Callable
from typing import Any

import gevent
from locust import events
from locust.env import Environment
from locust.event import EventHook
from locust.runners import LocalRunner

from contract.vocabulary import Outcome
from loadtest.config import Config, ConfigError, load
from loadtest.outcomes import Failure
from loadtest.schedule import ScheduledRequest
from loadtest.traffic import Traffic
from loadtest.users import VisitorUser

__all__ = ["VisitorUser"]


def _config() -> Config:
    try:
        return load(os.environ)
    except ConfigError as fault:
        print(f"error: {fault}", file=sys.stderr)
        raise SystemExit(2) from None


CONFIG = _config()


def refuse_workers(environment: Environment, **_: Any) -> None:
    if not isinstance(environment.runner, LocalRunner):
        print(
            "error: one Locust process carries the schedule; start it without --master/--worker", file=sys.stderr
        )
        raise SystemExit(2)


def start(environment: Environment, **_: Any) -> None:
    runner = environment.runner

    def users() -> int:
        return runner.user_count if runner else 0

    def unsent(request: ScheduledRequest) -> None:
        # Among the failures, so that too few users show; not among the requests, for it never was one.
        environment.stats.log_error(request.method, request.kind, Failure(Outcome.UNSENT))

    def end() -> None:
        # Not from the pacer's own greenlet: stopping waits for it.
        if runner:
            gevent.spawn(runner.stop if environment.web_ui else runner.quit)

    VisitorUser.traffic = Traffic(CONFIG, users, unsent, end)


def spawned(user_count: int, **_: Any) -> None:
    if VisitorUser.traffic:
        VisitorUser.traffic.spawned()


# Locust also says that a test stops when none was ever started, as when the port of its page is in use.
def stopping(environment: Environment, **_: Any) -> None:
    if VisitorUser.traffic:
        VisitorUser.traffic.close()


def stop(environment: Environment, **_: Any) -> None:
    if VisitorUser.traffic:
        VisitorUser.traffic.finish()


def _listen(hook: EventHook, listener: Callable[..., None]) -> None:
    add: Callable[[Callable[..., None]], object] = hook.add_listener
    add(listener)


_listen(events.init, refuse_workers)
_listen(events.test_start, start)
_listen(events.spawning_complete, spawned)
_listen(events.test_stopping, stopping)
_listen(events.test_stop, stop)
