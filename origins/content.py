"""What an origin says: words, pages' contents, product records, file bytes; all decided by (seed, host, path).

Pure. Nothing here knows HTTP; `render.py` dresses it, `answers.py` turns it into responses.
"""

import hashlib
import random
from urllib.parse import unquote_plus

import msgspec

from contract.sites import SiteSpec
from origins.sites import KINDS

#: The largest file that a path may name.
MAX_FILE_BYTES = 200_000

_OPENERS = ("A quiet", "The last", "An early", "A second", "The long", "A careful", "One small", "The other")
_THINGS = (
    "harbour", "orchard", "timetable", "lantern", "ledger", "bridge", "workshop", "garden", "letter", "kettle",
    "signal", "library", "market", "window", "recipe", "staircase", "ferry", "notebook", "engine", "archive",
)  # fmt: skip
_TURNS = (
    "opens again after the winter", "finds a new keeper", "is better than it looks", "explained in ten minutes",
    "and the people who mend it", "moves across the river", "for a rainy afternoon", "comes home",
    "in four easy steps", "that nobody ordered", "is ready before noon", "with a view of the sea",
)  # fmt: skip
_SENTENCES = (
    "The work took most of a year and was finished on a Thursday.",
    "Nobody remembers who suggested it, and everybody agrees that it was a good idea.",
    "There is a bench outside where one can sit and watch the boats.",
    "Bring something warm, because the evenings are cooler than the forecast says.",
    "The second part is the easier one once the first has been done properly.",
    "A handful of readers wrote to say that the old way was quicker.",
    "It costs about as much as a good lunch and lasts a good deal longer.",
    "The instructions fit on one page, which is rarer than it should be.",
    "Doors open at nine and the queue is usually gone by half past.",
    "Most of it can be repaired at home with a screwdriver and some patience.",
    "The map on the wall is older than the building that it hangs in.",
    "What happens next depends on the weather and on the committee.",
)


class Card(msgspec.Struct, frozen=True):
    """One thing on a page that can be followed: title, path, a line or two, a small figure beside it."""

    title: str
    path: str
    text: str
    note: str


class PageContent(msgspec.Struct, frozen=True):
    """Everything a page shows."""

    heading: str
    intro: str
    paragraphs: tuple[str, ...]
    cards: tuple[Card, ...]


class Item(msgspec.Struct, frozen=True):
    """A product, article, thread or record as its site's API tells it."""

    id: str
    site: str
    title: str
    summary: str
    price_cents: int
    stock: int
    rating: float
    tags: tuple[str, ...]


def rng_for(seed: int, host: str, path: str) -> random.Random:
    """The one source of everything on that path: the same generator for the same three arguments."""
    digest = hashlib.blake2b(f"{seed}|{host}|{path}".encode(), digest_size=8).digest()
    return random.Random(int.from_bytes(digest, "big"))


def title_from(rng: random.Random) -> str:
    return f"{rng.choice(_OPENERS)} {rng.choice(_THINGS)} {rng.choice(_TURNS)}"


def paragraph_from(rng: random.Random, sentences: int) -> str:
    return " ".join(rng.choice(_SENTENCES) for _ in range(sentences))


def slug_of(title: str) -> str:
    return title.lower().replace(" ", "-")


def card_from(rng: random.Random, noun: str) -> Card:
    title = title_from(rng)
    path = f"/{noun}/{slug_of(title)}-{rng.randrange(1000, 9999)}"
    return Card(title, path, paragraph_from(rng, 1), f"{rng.randrange(2, 99)}")


def front_page(seed: int, site: SiteSpec, path: str, heading: str) -> PageContent:
    """A home page or one of the sections: an introduction and a dozen cards."""
    rng = rng_for(seed, site.host, path)
    kind = KINDS[site.kind]
    cards = tuple(card_from(rng, kind.noun) for _ in range(12))
    return PageContent(heading, kind.tagline, (paragraph_from(rng, 2),), cards)


def item_page(seed: int, site: SiteSpec, path: str) -> PageContent:
    """One article, product, thread, file or journey, and four others to follow."""
    rng = rng_for(seed, site.host, path)
    words = unquote_plus(path.rsplit("/", 1)[-1]).replace("-", " ").strip()
    paragraphs = tuple(paragraph_from(rng, rng.randrange(3, 6)) for _ in range(5))
    cards = tuple(card_from(rng, KINDS[site.kind].noun) for _ in range(4))
    return PageContent(words[:1].upper() + words[1:], paragraph_from(rng, 1), paragraphs, cards)


def search_page(seed: int, site: SiteSpec, query: str) -> PageContent:
    """What a search for `query` (the raw query string) finds: always something, and always the same."""
    rng = rng_for(seed, site.host, f"/search?{query}")
    found = rng.randrange(3, 10)
    cards = tuple(card_from(rng, KINDS[site.kind].noun) for _ in range(found))
    return PageContent(f"{found} results", "Best matches first", (), cards)


def item_record(seed: int, site: SiteSpec, path: str) -> Item:
    """The same item as its site's API shows it."""
    rng = rng_for(seed, site.host, path)
    return Item(
        id=path.rsplit("/", 1)[-1],
        site=site.host,
        title=title_from(rng),
        summary=paragraph_from(rng, 3),
        price_cents=rng.randrange(199, 19_999),
        stock=rng.randrange(0, 250),
        rating=round(rng.uniform(2.5, 5.0), 1),
        tags=tuple(rng.sample(_THINGS, 4)),
    )


class FileStore:
    """Bytes for every file name: windows into one seeded block, so that no file costs memory of its own."""

    def __init__(self, seed: int) -> None:
        block = random.Random(f"{seed}|files").randbytes(MAX_FILE_BYTES)
        self._block = memoryview(block + block)

    def read(self, host: str, path: str, size: int) -> memoryview:
        """`size` bytes (at most `MAX_FILE_BYTES`), the same for the same host and path. ValueError if larger."""
        if not 0 <= size <= MAX_FILE_BYTES:
            raise ValueError(f"a file has 0 to {MAX_FILE_BYTES} bytes, not {size}")
        digest = hashlib.blake2b(f"{host}|{path}".encode(), digest_size=4).digest()
        start = int.from_bytes(digest, "big") % MAX_FILE_BYTES
        return self._block[start : start + size]
