"""Who sends what: due requests meet free users. Pure; the users are opaque handles.

The user that became free last is served first. At rest a handful of users, with warm connections, carries
everything; when answers stay out, the others are called up one after another. A request that finds nobody free
waits, and is given up when it is too late to send it honestly.
"""

from collections import deque
from typing import Generic, TypeVar

from loadtest.schedule import ScheduledRequest

U = TypeVar("U")


class Handout(Generic[U]):
    """Free users and waiting requests; never both at once."""

    def __init__(self, unsent_after_s: float) -> None:
        self._unsent_after_s = unsent_after_s
        self._free: list[U] = []
        self._waiting: deque[ScheduledRequest] = deque()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def offer(self, request: ScheduledRequest) -> U | None:
        """The user that shall send `request` now; None if it has to wait."""
        if self._free:
            return self._free.pop()
        self._waiting.append(request)
        return None

    def ask(self, user: U) -> ScheduledRequest | None:
        """What `user` shall send at once; None: nothing waits, and the user is free from now on."""
        if self._waiting:
            return self._waiting.popleft()
        self._free.append(user)
        return None

    def leave(self, user: U) -> None:
        """The user is no longer there."""
        if user in self._free:
            self._free.remove(user)

    def expired(self, now_s: float) -> list[ScheduledRequest]:
        """Takes out and returns what is more than `unsent_after_s` late at `now_s`, oldest first."""
        late: list[ScheduledRequest] = []
        while self._waiting and now_s - self._waiting[0].due_s > self._unsent_after_s:
            late.append(self._waiting.popleft())
        return late

    def close(self) -> tuple[list[ScheduledRequest], list[U]]:
        """Empties both: what will never be sent, and who waits for nothing."""
        left = list(self._waiting), self._free
        self._waiting.clear()
        self._free = []
        return left
