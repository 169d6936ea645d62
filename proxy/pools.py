"""Which inspector judges which request, and what happens when none does. Decides only: no clock, no socket.

A request is asked of the primary pool first; when that has not answered in its share of the deadline, has no
room or no live inspector, of the standby; then it has failed. An answer that comes late but before the failure
still counts, whoever gives it.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from contract.vocabulary import Pool, Reason
from proxy.frames import Code, VerdictFrame

#: A request that was under way in this many inspectors when they died is not given to another.
MAX_LOST = 3


class Link(Protocol):
    """The front's end of one inspector."""

    pool: Pool
    alive: bool
    in_flight: "dict[int, Job]"

    def send(self, job: "Job") -> None: ...


@dataclass(frozen=True, slots=True)
class Inspected:
    """What became of an inspection. `failure` is None when an inspector answered in time."""

    pool: Pool | None
    blocked: bool
    hits: tuple[int, ...]
    failure: Reason | None


@dataclass(slots=True, eq=False)
class Job:
    """One request to inspect. `headers`: values joined by LF. `place`: index into the pool order."""

    id: int
    uri: bytes
    headers: bytes
    body: bytes
    started: float
    done: Callable[[Inspected], None]
    place: int = 0
    attempt_deadline: float = 0.0
    lost: int = 0


@dataclass(slots=True)
class _Members:
    links: list[Link] = field(default_factory=list)
    waiting: deque[Job] = field(default_factory=deque)


class InspectionPools:
    """Jobs by pool. `deadline_s` is for the whole inspection; each of n pools has an n-th of it."""

    def __init__(self, order: tuple[Pool, ...], deadline_s: float, queue: int, window: int) -> None:
        self.order = order
        self._members = {pool: _Members() for pool in order}
        self._share_s = deadline_s / len(order)
        self._queue = queue
        self._window = window
        self._jobs: dict[int, Job] = {}

    def submit(self, job: Job) -> None:
        self._jobs[job.id] = job
        self._offer(job, 0, Reason.INSPECTION_POOL_DOWN)

    def cancel(self, job_id: int) -> None:
        """The client is gone: whatever an inspector says no longer matters."""
        job = self._jobs.pop(job_id, None)
        if job is not None:
            self._unqueue(job)

    def answered(self, link: Link, frame: VerdictFrame) -> None:
        """An inspector's frame. Answers for requests that are settled free their place and do nothing else."""
        link.in_flight.pop(frame.id, None)
        job = self._jobs.get(frame.id)
        if job is not None and frame.code != Code.EXPIRED:
            self._unqueue(job)
            self._settle(job, Inspected(link.pool, frame.code == Code.BLOCKED, frame.hits, None))
        self._pump(link.pool)

    def sweep(self, now: float) -> None:
        """Move on every job whose time in its pool is over."""
        for job in [job for job in self._jobs.values() if job.attempt_deadline <= now]:
            self._unqueue(job)
            self._offer(job, job.place + 1, Reason.INSPECTION_TIMEOUT)

    def replace(self, links: list[Link]) -> list[Link]:
        """Swap the generation: ask the new inspectors whatever is unanswered, oldest first, at their pace.

        Returns the old links, which the caller ends. Inspection has no side effects, so asking twice is safe.
        """
        old = [link for members in self._members.values() for link in members.links]
        for pool, members in self._members.items():
            members.links = [link for link in links if link.pool is pool]
            members.waiting.clear()
        for job in sorted(self._jobs.values(), key=lambda job: job.started):
            self._offer(job, 0, Reason.INSPECTION_POOL_DOWN)
        return old

    def add(self, link: Link) -> None:
        """A replacement for an inspector that died."""
        self._members[link.pool].links.append(link)
        self._pump(link.pool)

    def lost(self, link: Link) -> None:
        """An inspector died: its unanswered jobs are asked of another, unless they may be what killed it."""
        members = self._members.get(link.pool)
        if members is None or link not in members.links:
            return
        members.links.remove(link)
        for job in list(link.in_flight.values()):
            if self._jobs.get(job.id) is job and self.order[job.place] is link.pool:
                job.lost += 1
                place = job.place if job.lost < MAX_LOST else len(self.order)
                self._offer(job, place, Reason.INSPECTION_POOL_DOWN)
        link.in_flight.clear()

    def waiting(self, pool: Pool) -> int:
        members = self._members.get(pool)
        return len(members.waiting) if members else 0

    def _offer(self, job: Job, place: int, reason: Reason) -> None:
        """Find the job a place from `place` on; `reason` is why the pool before it did not do."""
        while place < len(self.order):
            members = self._members[self.order[place]]
            job.place, job.attempt_deadline = place, job.started + self._share_s * (place + 1)
            if not members.links:
                reason = Reason.INSPECTION_POOL_DOWN
            elif self._send(members, job):
                return
            elif len(members.waiting) < self._queue:
                members.waiting.append(job)
                return
            else:
                reason = Reason.INSPECTION_QUEUE_FULL
            place += 1
        self._settle(job, Inspected(None, False, (), reason))

    def _send(self, members: _Members, job: Job) -> bool:
        link = min(members.links, key=lambda link: len(link.in_flight))
        if len(link.in_flight) >= self._window:
            return False
        link.in_flight[job.id] = job
        link.send(job)
        return True

    def _pump(self, pool: Pool) -> None:
        members = self._members[pool]
        while members.waiting and members.links and self._send(members, members.waiting[0]):
            members.waiting.popleft()

    def _unqueue(self, job: Job) -> None:
        waiting = self._members[self.order[job.place]].waiting
        if waiting and job in waiting:
            waiting.remove(job)

    def _settle(self, job: Job, inspected: Inspected) -> None:
        if self._jobs.pop(job.id, None) is not None:
            job.done(inspected)
