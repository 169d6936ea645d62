"""Listens to the deployer: its journal becomes events, its fleet view gives each control stream's round trip.

In: `GET /api/v1/journal` (long poll), `GET /api/v1/fleet`. Out: events into the run, `Control`. The deployer is
a part of what is watched: it may be late, dead or wrong, and the run is watched on without it.
"""

import asyncio
import logging
from dataclasses import dataclass, field

import aiohttp

from console.fetch import NO_ANSWER, get_json
from console.run import BEFORE_THE_RUN_S, Run
from contract.messages import FleetView
from contract.record import Event, JournalEntry
from contract.vocabulary import EventKind

_log = logging.getLogger("console")

WAIT_S = 10.0
FLEET_TIMEOUT_S = 1.0

#: How long to leave a deployer alone that does not answer.
RETRY_S = 0.25


@dataclass
class Control:
    """What the deployer knows of the control streams: node → last round trip in ms."""

    ms: dict[str, float | None] = field(default_factory=dict)


async def watch_fleet(run: Run, session: aiohttp.ClientSession, control: Control) -> None:
    """One look; a change between reachable and not is an event."""
    try:
        view, _ = await get_json(
            session, f"{run.begin.endpoints.deployer}/api/v1/fleet", FLEET_TIMEOUT_S, FleetView
        )
    except NO_ANSWER:
        control.ms = {}
        up = False
    else:
        control.ms = {node.hello.node: node.control_ms for node in view.nodes}
        up = True
    if up is not run.state.deployer_up:
        text = "The deployer answers" if up else "The deployer does not answer"
        run.say(EventKind.NOTE, text, {"deployer_up": up})


async def watch_journal(run: Run, session: aiohttp.ClientSession) -> None:
    """Until cancelled. Entries older than the run are passed over."""
    while True:
        url = f"{run.begin.endpoints.deployer}/api/v1/journal?after={run.journal_seq}&wait_s={WAIT_S:g}"
        try:
            entries, _ = await get_json(session, url, WAIT_S + 5.0, list[JournalEntry])
        except NO_ANSWER:
            await asyncio.sleep(RETRY_S)
            continue
        now_t = run.now_t()
        for entry in entries:
            # Noted first, so that an entry that cannot be folded does not come back for ever.
            run.journal_seq = max(run.journal_seq, entry.seq)
            _take(run, entry, now_t - entry.age_s)


def _take(run: Run, entry: JournalEntry, t: float) -> None:
    if t < -BEFORE_THE_RUN_S:
        return
    try:
        run.add(Event(round(max(t, 0.0), 3), entry.kind, "deployer", entry.text, entry.data))
    except Exception:
        # The observer of an outage must outlive whatever it is told.
        _log.exception("entry %d of the deployer's journal could not be read", entry.seq)
