"""Who visits: a browser, a session cookie, one site, and a memory of the pages seen. Pure.

A visitor arrives on a page, follows what it finds, searches, writes about what it has read, and leaves. Its
headers are the ones a browser of 2019 or later sends, at their real lengths; cookies belong to the visitor and
never to the Locust user that happens to carry its requests.
"""

import random
from collections import deque

import msgspec

from contract.sites import SiteSpec


class Browser(msgspec.Struct, frozen=True):
    """What one browser says about itself in every request."""

    user_agent: str
    language: str
    brands: str | None = None
    platform: str | None = None


_CHROME = '"Chromium";v="126", "Google Chrome";v="126", "Not-A.Brand";v="99"'

_WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0"
_APPLE = "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5"
_GECKO = "Gecko/20100101 Firefox/127.0"
_WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64"
_IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X)"

BROWSERS: tuple[Browser, ...] = (
    Browser(f"{_WINDOWS}) {_WEBKIT} Safari/537.36", "en-US,en;q=0.9", _CHROME, '"Windows"'),
    Browser(f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_APPLE} Safari/605.1.15", "en-GB,en;q=0.9"),
    Browser(f"{_IPHONE} {_APPLE} Mobile/15E148 Safari/604.1", "de-DE,de;q=0.9"),
    Browser(f"Mozilla/5.0 (X11; Linux x86_64; rv:127.0) {_GECKO}", "nl,en-US;q=0.7,en;q=0.3"),
    Browser(
        f"Mozilla/5.0 (Linux; Android 14; Pixel 8) {_WEBKIT} Mobile Safari/537.36",
        "ja-JP,ja;q=0.9,en-US;q=0.8,en;q=0.7",
        _CHROME,
        '"Android"',
    ),
    Browser(f"{_WINDOWS}; rv:127.0) {_GECKO}", "fr,fr-FR;q=0.8,en;q=0.5"),
)

PAGE_ACCEPT = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
DATA_ACCEPT = "application/json, text/plain, */*"


class Visitor:
    """One person's visit. `item`: the path last read, posts are about it; `page`: the one on screen."""

    __slots__ = ("_constant", "cookie", "item", "page", "site", "steps_left")

    def __init__(self, rng: random.Random, site: SiteSpec) -> None:
        browser = rng.choice(BROWSERS)
        self.site = site
        self.page = "/"
        self.item: str | None = None
        self.steps_left = rng.randrange(4, 16)
        self.cookie = f"session={rng.getrandbits(128):032x}; consent=yes; tz=UTC{rng.randrange(-8, 10):+d}"
        constant = [
            ("User-Agent", browser.user_agent),
            ("Accept-Language", browser.language),
            ("Accept-Encoding", "gzip, deflate, br"),
        ]
        # Only browsers built on Chromium send these two.
        if browser.brands and browser.platform:
            constant += [("Sec-CH-UA", browser.brands), ("Sec-CH-UA-Platform", browser.platform)]
        self._constant = tuple(constant)

    def headers(self, request_id: str, accept: str, *more: tuple[str, str]) -> tuple[tuple[str, str], ...]:
        """All headers of this visitor's next request but Host and Content-Length."""
        fetch = ("Sec-Fetch-Mode", "navigate" if accept is PAGE_ACCEPT else "cors")
        return (
            *self._constant,
            ("Accept", accept),
            ("Referer", f"https://{self.site.host}{self.page}"),
            ("Cookie", self.cookie),
            fetch,
            *more,
            ("X-Client-Request-Id", request_id),
        )


class Crowd:
    """Those who are on some site now, in one region. Bounded: the one who came first leaves for a new one."""

    def __init__(self, size: int) -> None:
        self._visitors: deque[Visitor] = deque(maxlen=size)

    def __len__(self) -> int:
        return len(self._visitors)

    def arrive(self, visitor: Visitor) -> None:
        self._visitors.append(visitor)

    def someone(self, rng: random.Random, *, who_has_read: bool) -> Visitor:
        """Anyone here, with `who_has_read` preferably someone who has opened an item. IndexError if empty."""
        visitor = rng.choice(self._visitors)
        for _ in range(4):
            if visitor.item or not who_has_read:
                break
            visitor = rng.choice(self._visitors)
        return visitor

    def step(self, visitor: Visitor) -> None:
        """Counts one of the visitor's steps; after its last one it is gone."""
        visitor.steps_left -= 1
        if visitor.steps_left <= 0 and len(self._visitors) > 1 and visitor in self._visitors:
            self._visitors.remove(visitor)
