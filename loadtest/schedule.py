"""What is sent when: every request of a run, decided by its seed before the first one leaves. Pure.

Arrivals are Poisson, sites follow Zipf's law, regions their share at 13:42 UTC. The kind of each request is
drawn independently, so the mix is the same in every second; who sends it is a visitor underway in that region,
so pages, searches, reading and posts make journeys. No Locust, no clock: `due_s` counts from the run's t = 0.
"""

import hashlib
import random
from collections.abc import Callable, Iterator
from itertools import accumulate

import msgspec

from contract.sites import SITES, ZIPF_EXPONENT
from contract.topology import REGION_SHARES
from loadtest.bodies import Prose, author, json_post, size_bytes, upload
from loadtest.visitors import DATA_ACCEPT, PAGE_ACCEPT, Crowd, Visitor

DEFAULT_RATE_PER_S = 150.0

#: Share of each kind of request; `json` becomes comment, order, review, message, … by the kind of site.
MIX: dict[str, float] = {
    "page": 0.19, "section": 0.10, "item": 0.20, "search": 0.07, "data": 0.08, "json": 0.25,
    "download": 0.04, "upload": 0.03, "login": 0.01, "cart": 0.01, "head": 0.02,
}  # fmt: skip

#: People on some site at any time, per region.
CROWD_SIZE = 60

#: How often a page view is somebody new.
ARRIVAL_SHARE = 0.55

#: Some article addresses are whole headlines of 300 to 500 characters.
LONG_SLUG_SHARE = 0.05

DOWNLOAD_MEDIAN_BYTES = 20_000
DOWNLOAD_SIGMA = 1.0
DOWNLOAD_MIN_BYTES = 1_000
DOWNLOAD_MAX_BYTES = 200_000

#: What each kind of site calls its items and its sections: the paths that its origin serves.
NOUNS: dict[str, str] = {
    "news": "articles", "shop": "products", "files": "files", "deck": "posts", "api": "items",
    "status": "incidents", "forum": "threads", "docs": "pages", "travel": "journeys", "video": "films",
    "games": "games", "learn": "lessons",
}  # fmt: skip
SECTIONS: dict[str, tuple[str, ...]] = {
    "news": ("world", "politics", "business", "opinion"),
    "shop": ("new", "kitchen", "garden", "sale"),
    "files": ("recent", "shared", "starred"),
    "deck": ("home", "mentions", "trending"),
    "api": ("docs", "pricing", "changelog"),
    "status": ("history", "subscribe"),
    "forum": ("latest", "unanswered", "members"),
    "docs": ("guide", "reference", "tutorials"),
    "travel": ("departures", "offers", "timetable"),
    "video": ("popular", "series", "documentaries"),
    "games": ("new", "multiplayer", "leaderboard"),
    "learn": ("courses", "practice", "library"),
}
_WORDS = (
    "harbour", "orchard", "timetable", "lantern", "ledger", "bridge", "workshop", "garden", "letter", "kettle",
    "signal", "library", "market", "window", "recipe", "staircase", "ferry", "notebook", "engine", "archive",
    "winter", "river", "evening", "quiet", "northern", "second", "open", "early", "careful", "small",
)  # fmt: skip


class ScheduledRequest(msgspec.Struct, frozen=True):
    """One request, `due_s` seconds after t = 0. `headers` lacks Host (it is `site`) and Content-Length."""

    id: str
    due_s: float
    region: str
    site: str
    kind: str
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Step(msgspec.Struct, frozen=True):
    """What a visitor does next, before it has a time and an address."""

    kind: str
    method: str
    path: str
    accept: str
    body: bytes = b""
    content_type: str | None = None


class Schedule:
    """The requests of one seed, in due order, made one at a time and never kept.

    Two schedules with equal arguments give equal requests. `duration_s` None: they never end.
    """

    def __init__(
        self, seed: int, rate_per_s: float = DEFAULT_RATE_PER_S, duration_s: float | None = None
    ) -> None:
        if not rate_per_s > 0:
            raise ValueError(f"the rate has to be above 0 requests/s, not {rate_per_s}")
        self._seed = seed
        self._rate_per_s = rate_per_s
        self._duration_s = duration_s
        # Arrivals and contents are drawn apart: another rate moves the times and leaves the requests as they are.
        self._arrivals = random.Random(f"{seed}|arrivals")
        self._rng = random.Random(f"{seed}|contents")
        self._prose = Prose(self._rng)
        self._regions = tuple(REGION_SHARES)
        self._region_weights = tuple(accumulate(REGION_SHARES.values()))
        self._site_weights = tuple(accumulate((rank + 1) ** -ZIPF_EXPONENT for rank in range(len(SITES))))
        self._kinds = tuple(MIX)
        self._kind_weights = tuple(accumulate(MIX.values()))
        self._crowds = {region: self._crowd_underway() for region in self._regions}

    def __iter__(self) -> Iterator[ScheduledRequest]:
        due_s = 0.0
        number = 0
        while True:
            due_s += self._arrivals.expovariate(self._rate_per_s)
            if self._duration_s is not None and due_s >= self._duration_s:
                return
            number += 1
            yield self._request(f"{self._seed}-{number:06d}", round(due_s, 6))

    def _request(self, request_id: str, due_s: float) -> ScheduledRequest:
        rng = self._rng
        region = rng.choices(self._regions, cum_weights=self._region_weights)[0]
        kind = rng.choices(self._kinds, cum_weights=self._kind_weights)[0]
        crowd = self._crowds[region]
        if kind == "page" and rng.random() < ARRIVAL_SHARE:
            visitor = self._newcomer()
            crowd.arrive(visitor)
        else:
            visitor = crowd.someone(rng, who_has_read=kind == "json")
        step = STEPS[kind](rng, self._prose, visitor)
        more: tuple[tuple[str, str], ...] = ()
        if step.content_type is not None:
            more = (("Content-Type", step.content_type), ("Origin", f"https://{visitor.site.host}"))
        headers = visitor.headers(request_id, step.accept, *more)
        if step.kind in ("page", "section", "search", "item"):
            visitor.page = step.path
        if step.kind == "item":
            visitor.item = step.path
        crowd.step(visitor)
        return ScheduledRequest(
            request_id, due_s, region, visitor.site.host, step.kind, step.method, step.path, headers, step.body
        )

    def _newcomer(self) -> Visitor:
        site = self._rng.choices(SITES, cum_weights=self._site_weights)[0]
        return Visitor(self._rng, site)

    def _crowd_underway(self) -> Crowd:
        """A region's visitors in the middle of their visits: a run does not begin at the opening of the doors."""
        crowd = Crowd(CROWD_SIZE)
        for _ in range(CROWD_SIZE):
            visitor = self._newcomer()
            visitor.steps_left = self._rng.randrange(1, visitor.steps_left + 1)
            if self._rng.random() < 0.7:
                visitor.page = visitor.item = item_path(self._rng, visitor)
            crowd.arrive(visitor)
        return crowd


def slug(rng: random.Random) -> str:
    """What an item's address is made of: some words, rarely a whole headline."""
    words = rng.randrange(42, 68) if rng.random() < LONG_SLUG_SHARE else rng.randrange(3, 8)
    return "-".join(rng.choices(_WORDS, k=words))


def item_path(rng: random.Random, visitor: Visitor) -> str:
    # Some two hundred addresses a site take most of the views, as front pages make them do.
    popular = random.Random(f"{visitor.site.host}|{int(rng.paretovariate(0.9)) % 400}")
    return f"/{NOUNS[visitor.site.kind]}/{slug(popular)}-{popular.randrange(1000, 9999)}"


def _page(rng: random.Random, prose: Prose, visitor: Visitor) -> Step:
    return Step("page", "GET", "/", PAGE_ACCEPT)


def _section(rng: random.Random, prose: Prose, visitor: Visitor) -> Step:
    return Step("section", "GET", f"/{rng.choice(SECTIONS[visitor.site.kind])}", PAGE_ACCEPT)


def _item(rng: random.Random, prose: Prose, visitor: Visitor) -> Step:
    return Step("item", "GET", item_path(rng, visitor), PAGE_ACCEPT)


def _search(rng: random.Random, prose: Prose, visitor: Visitor) -> Step:
    query = "+".join(rng.choices(_WORDS, k=rng.randrange(1, 4)))
    page = f"&page={rng.randrange(2, 5)}" if rng.random() < 0.25 else ""
    return Step("search", "GET", f"/search?q={query}{page}", PAGE_ACCEPT)


def _data(rng: random.Random, prose: Prose, visitor: Visitor) -> Step:
    noun = NOUNS[visitor.site.kind]
    path = f"/api/{noun}?limit=10" if rng.random() < 0.3 else f"/api/{noun}/{rng.randrange(1, 300)}"
    return Step("data", "GET", path, DATA_ACCEPT)


def _json(rng: random.Random, prose: Prose, visitor: Visitor) -> Step:
    about = visitor.item or visitor.page
    kind, path, body = json_post(rng, prose, visitor.site.kind, about)
    return Step(kind, "POST", path, DATA_ACCEPT, body, "application/json")


def _download(rng: random.Random, prose: Prose, visitor: Visitor) -> Step:
    size = size_bytes(rng, DOWNLOAD_MEDIAN_BYTES, DOWNLOAD_SIGMA, DOWNLOAD_MIN_BYTES, DOWNLOAD_MAX_BYTES)
    return Step("download", "GET", f"/download/{size}/{rng.choice(_WORDS)}-{rng.randrange(100)}.bin", "*/*")


def _upload(rng: random.Random, prose: Prose, visitor: Visitor) -> Step:
    content_type, body = upload(rng)
    return Step("upload", "POST", "/upload", DATA_ACCEPT, body, content_type)


def _login(rng: random.Random, prose: Prose, visitor: Visitor) -> Step:
    body = f"user={author(rng)}&password={rng.getrandbits(64):016x}&remember=on".encode()
    return Step("login", "POST", "/login", PAGE_ACCEPT, body, "application/x-www-form-urlencoded")


def _cart(rng: random.Random, prose: Prose, visitor: Visitor) -> Step:
    body = f"item={rng.randrange(10**6)}&quantity={rng.randrange(1, 4)}".encode()
    return Step("cart", "POST", "/cart", DATA_ACCEPT, body, "application/x-www-form-urlencoded")


def _head(rng: random.Random, prose: Prose, visitor: Visitor) -> Step:
    return Step("head", "HEAD", "/", "*/*")


#: One function for each key of MIX.
STEPS: dict[str, Callable[[random.Random, Prose, Visitor], Step]] = {
    "page": _page, "section": _section, "item": _item, "search": _search, "data": _data, "json": _json,
    "download": _download, "upload": _upload, "login": _login, "cart": _cart, "head": _head,
}  # fmt: skip


def schedule_digest(seed: int, rate_per_s: float, duration_s: float) -> str:
    """SHA-256 (hex) over every byte of a schedule: equal digests are equal runs."""
    digest = hashlib.sha256()
    encode = msgspec.msgpack.Encoder().encode
    for request in Schedule(seed, rate_per_s, duration_s):
        digest.update(encode(request))
    return digest.hexdigest()
