"""A request in, its answer out: which path means what. No clock, no socket, no state but caches.

Paths, on every site: `/` and the kind's sections · `/NOUN/SLUG` (an item) · `/search?q=` · `/api/NAME[/ID]`
(JSON; POST answers what was received) · `/download/BYTES/NAME` · `/static/NAME` · POST `/upload`, `/login`,
`/cart`. Anything else is 404. HEAD is GET without its body, which the server leaves out.
"""

import hashlib
from functools import lru_cache

import msgspec

from contract.sites import SiteSpec
from origins.content import (
    MAX_FILE_BYTES,
    FileStore,
    PageContent,
    front_page,
    item_page,
    item_record,
    search_page,
)
from origins.render import Renderer
from origins.sites import KINDS

HTML = "text/html; charset=utf-8"
JSON = "application/json"
BYTES = "application/octet-stream"

#: Rendered bodies kept: pages are about 7 kB, so at most some 15 MiB.
CACHED_BODIES = 2048

_encode = msgspec.json.Encoder().encode


class Answer(msgspec.Struct, frozen=True):
    """A response before it is one."""

    status: int
    content_type: str
    body: bytes | memoryview
    headers: tuple[tuple[str, str], ...] = ()


class Received(msgspec.Struct, frozen=True):
    """What a POST endpoint says it got: enough for a client to check that every byte arrived."""

    id: str
    site: str
    path: str
    length: int
    sha256: str


class Answers:
    """Answers for all sites of one seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._files = FileStore(seed)
        self._renderer = Renderer()
        self._get = lru_cache(maxsize=CACHED_BODIES)(self._get_uncached)

    def answer(self, site: SiteSpec, method: str, path: str, query: str, body: bytes) -> Answer:
        """The answer to one request; `path` and `query` are as they came, still percent-encoded."""
        if method in ("GET", "HEAD"):
            # A download is a window into one block: caching it by name would only push pages out.
            if path.startswith("/download/"):
                return self._download(site, path)
            return self._get(site, path, query if path == "/search" else "")
        if method in ("POST", "PUT", "PATCH"):
            return self._post(site, path, body)
        return Answer(
            405, JSON, _encode({"error": f"{method} is not offered here"}), (("Allow", "GET, HEAD, POST"),)
        )

    def _get_uncached(self, site: SiteSpec, path: str, query: str) -> Answer:
        kind = KINDS[site.kind]
        parts = path.strip("/").split("/")
        if path == "/":
            return self._page(kind.layout, site, front_page(self._seed, site, path, site.title))
        if path == "/search":
            return self._page("table", site, search_page(self._seed, site, query))
        if len(parts) == 1 and parts[0] in kind.sections:
            return self._page(kind.layout, site, front_page(self._seed, site, path, parts[0].capitalize()))
        if len(parts) == 2 and parts[0] == kind.noun:
            return self._page("item", site, item_page(self._seed, site, path))
        if len(parts) in (2, 3) and parts[0] == "api":
            return self._records(site, path, parts)
        if len(parts) == 2 and parts[0] == "static":
            return self._static(site, path)
        missing = PageContent("Nothing here", f"{site.host} has no page of this name.", (), ())
        return self._page("missing", site, missing, status=404)

    def _page(self, layout: str, site: SiteSpec, page: PageContent, status: int = 200) -> Answer:
        return Answer(status, HTML, self._renderer.html(layout, site, page))

    def _records(self, site: SiteSpec, path: str, parts: list[str]) -> Answer:
        if len(parts) == 3:
            return Answer(200, JSON, _encode(item_record(self._seed, site, path)))
        records = [item_record(self._seed, site, f"{path}/{number}") for number in range(1, 11)]
        return Answer(200, JSON, _encode({"items": records, "next": f"{path}?page=2"}))

    def _download(self, site: SiteSpec, path: str) -> Answer:
        parts = path.strip("/").split("/")
        if len(parts) != 3 or not parts[1].isdecimal() or int(parts[1]) > MAX_FILE_BYTES:
            return Answer(
                404, JSON, _encode({"error": f"use /download/BYTES/NAME, at most {MAX_FILE_BYTES} bytes"})
            )
        disposition = ("Content-Disposition", f'attachment; filename="{parts[2][:100]}"')
        return Answer(200, BYTES, self._files.read(site.host, path, int(parts[1])), (disposition,))

    def _static(self, site: SiteSpec, path: str) -> Answer:
        accent = KINDS[site.kind].accent
        rules = [f".s{number}{{color:{accent};margin:{number}px}}" for number in range(60)]
        caching = ("Cache-Control", "public, max-age=3600")
        return Answer(200, "text/css", f"/* {path} */\n{chr(10).join(rules)}\n".encode(), (caching,))

    def _post(self, site: SiteSpec, path: str, body: bytes) -> Answer:
        sha256 = hashlib.sha256(body).hexdigest()
        token = hashlib.blake2b(f"{self._seed}|{site.host}|{path}|{sha256}".encode(), digest_size=8).hexdigest()
        received = _encode(Received(token, site.host, path, len(body), sha256))
        if path == "/login":
            cookie = ("Set-Cookie", f"session={token}; Path=/; HttpOnly; SameSite=Lax")
            return Answer(303, JSON, received, (("Location", "/"), cookie))
        if path == "/cart":
            return Answer(200, JSON, received, (("Set-Cookie", f"cart={token}; Path=/"),))
        if path == "/upload" or path.startswith("/api/"):
            return Answer(201, JSON, received)
        return Answer(404, JSON, _encode({"error": f"nothing takes a POST at {path[:200]}"}))
