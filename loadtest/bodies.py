"""What visitors write: JSON posts of a wanted size, form posts, uploads. Pure; randomness is an argument.

The posts are ordinary ones: comments, orders, messages, profiles, readings. None is made to hurt: what hurts in
2019's rule is that ordinary JSON is one line of text with quotes, digits and hardly ever an equals sign.
"""

import math
import random
from collections.abc import Callable
from itertools import accumulate

import msgspec

#: Size of a JSON post, bytes: log-normal, cut at both ends.
POST_MEDIAN_BYTES = 700
POST_SIGMA = 1.6
POST_MIN_BYTES = 200
POST_MAX_BYTES = 4000

UPLOAD_MEDIAN_BYTES = 5_000
UPLOAD_SIGMA = 0.8
UPLOAD_MIN_BYTES = 1_000
UPLOAD_MAX_BYTES = 20_000

#: Share of comments and messages that link to a page with a query: the few JSON posts with an equals sign.
LINK_SHARE = 0.04

_NAMES = (
    "amara", "bjorn", "chidi", "dora", "emil", "farah", "goran", "hana", "ines", "jonas", "keiko", "lucia",
    "milan", "noor", "oskar", "priya", "quentin", "rosa", "sami", "tove", "umar", "vera", "wim", "yuki",
)  # fmt: skip
_FAMILIES = ("okafor", "lindqvist", "moreau", "tanaka", "kowalska", "haddad", "silva", "novak", "berg", "ito")
_TOWNS = ("Utrecht", "Porto", "Leeds", "Osaka", "Tampere", "Oakland", "Boston", "Lyon", "Graz", "Sapporo")
_SUBJECTS = (
    "My sister", "The neighbour", "Nobody here", "The man at the counter", "Our teacher", "A friend of mine",
    "The second edition", "This recipe", "The whole street", "The new version", "Everyone I asked", "The driver",
    "Whoever wrote this", "The last update", "A reader from the coast", "The committee", "Half of the class",
)  # fmt: skip
_VERBS = (
    "told me about", "never liked", "has been waiting for", "couldn't find", "would recommend", "asks for",
    "finally repaired", "still remembers", "was surprised by", "doesn't need", "paid too much for", "prefers",
    "swears by", "had to give back", "is looking forward to", "made two copies of", "walked 12 miles for",
)  # fmt: skip
_OBJECTS = (
    "the blue kettle", "a table by the window", "the night train", "the third chapter", "a well-known trick",
    "the half-price tickets", "the old timetable", "a pair of size 43 boots", "the left-hand drawer",
    "the garden behind the library", "a good screwdriver", "the 1987 recording", "an answer by Friday",
    "the map on page 214", "the small print", "a long weekend", "the ferry at 7:40", "what they call soup",
)  # fmt: skip
_ENDINGS = (
    ".", ".", ".", ", which says a lot.", ", and I can see why.", "!", ", at least in winter.",
    ", if you ask me.", " - or so it seems.", ", but that's another story.", "?", ", twice.", ", thank you.",
)  # fmt: skip
_SENSORS = ("temperature", "humidity", "pressure", "battery", "signal", "wind", "rain", "light")
_PRODUCTS = ("kettle", "lamp", "notebook", "teapot", "rucksack", "bicycle bell", "seed box", "candle", "atlas")
_INTERESTS = ("sailing", "baking", "chess", "birds", "old maps", "cycling", "radio", "gardening", "piano")

#: The day of the outage, milliseconds: editors use the time of its creation as a paragraph's key.
EDITED_MS = 1_562_025_600_000

#: A paragraph in the editor's format: its sentence and what stands around it.
SENTENCE_BYTES = 52
BLOCK_BYTES = 115

_encode = msgspec.json.Encoder().encode


def _sentence(rng: random.Random) -> str:
    words = (rng.choice(_SUBJECTS), rng.choice(_VERBS), rng.choice(_OBJECTS))
    return " ".join(words) + rng.choice(_ENDINGS)


class Prose:
    """A long running text of one seed, out of which everybody's sentences are cut."""

    def __init__(self, rng: random.Random, sentences: int = 1500) -> None:
        self._sentences = [_sentence(rng) for _ in range(sentences)]
        self._starts = list(accumulate((len(sentence) + 1 for sentence in self._sentences), initial=0))[:-1]
        text = " ".join(self._sentences) + " "
        # Doubled, so that a cut that begins near the end runs on into the beginning.
        self._text = text + text

    def sentence(self, rng: random.Random) -> str:
        return rng.choice(self._sentences)

    def cut(self, rng: random.Random, length: int) -> str:
        """About `length` characters (a word less at most), from the start of some sentence."""
        start = rng.choice(self._starts)
        text = self._text[start : start + max(length, 1)]
        return text[: text.rfind(" ")] if " " in text else text


def size_bytes(rng: random.Random, median: float, sigma: float, low: int, high: int) -> int:
    """A log-normal size, cut to [low, high]."""
    return round(min(max(math.exp(rng.gauss(math.log(median), sigma)), low), high))


def author(rng: random.Random) -> str:
    return f"{rng.choice(_NAMES)}.{rng.choice(_FAMILIES)}"


def stamp(rng: random.Random) -> str:
    """A time on the day of the outage, as JavaScript's toISOString writes it."""
    second, millisecond = divmod(rng.randrange(86_400_000), 1000)
    return f"2019-07-02T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}.{millisecond:03d}Z"


def blocks(rng: random.Random, prose: Prose, size: int) -> list[dict[str, object]]:
    """About `size` bytes of writing as a rich-text editor sends it: one sentence a paragraph."""
    written: list[dict[str, object]] = []
    left = size
    while not written or left > BLOCK_BYTES:
        text = prose.sentence(rng)
        written.append(
            {"key": EDITED_MS + rng.randrange(86_400_000), "type": "p", "text": text, "marks": [], "depth": 0}
        )
        left -= BLOCK_BYTES - SENTENCE_BYTES + len(text)
    # The last one is cut short or padded, so that sizes follow their distribution and not the sentences.
    if left > 0 or len(written) > 1:
        written[-1]["text"] = prose.cut(rng, max(4, len(str(written[-1]["text"])) + left))
    return written


def comment(rng: random.Random, prose: Prose, about: str, size: int) -> dict[str, object]:
    link = f"https://news.example/search?q={rng.choice(_PRODUCTS)}" if rng.random() < LINK_SHARE else None
    return {
        "on": about,
        "author": author(rng),
        "at": stamp(rng),
        "link": link,
        "notify": rng.random() < 0.5,
        "blocks": blocks(rng, prose, size - 130 - len(about)),
    }


def message(rng: random.Random, prose: Prose, about: str, size: int) -> dict[str, object]:
    return {
        "author": author(rng),
        "in_reply_to": rng.randrange(10**8),
        "lang": "en",
        "at": stamp(rng),
        "sensitive": False,
        "blocks": blocks(rng, prose, size - 135),
    }


def thread_post(rng: random.Random, prose: Prose, about: str, size: int) -> dict[str, object]:
    return {
        "title": prose.cut(rng, 40),
        "thread": about,
        "at": stamp(rng),
        "tags": rng.sample(_INTERESTS, 2),
        "blocks": blocks(rng, prose, size - 150 - len(about)),
    }


def review(rng: random.Random, prose: Prose, about: str, size: int) -> dict[str, object]:
    return {
        "product": about,
        "stars": rng.randrange(1, 6),
        "title": prose.cut(rng, 40),
        "at": stamp(rng),
        "verified": True,
        "blocks": blocks(rng, prose, size - 150 - len(about)),
    }


def order(rng: random.Random, prose: Prose, about: str, size: int) -> dict[str, object]:
    """Lines of an order for half of the size, the rest is address and a note to the packer."""
    lines = [
        {
            "sku": f"{rng.choice(_PRODUCTS)[:3].upper()}-{rng.randrange(1000, 9999)}",
            "quantity": rng.randrange(1, 4),
            "price_cents": rng.randrange(199, 9999),
        }
        for _ in range(max(1, size // 2 // 50))
    ]
    address = {
        "name": f"{rng.choice(_NAMES).title()} {rng.choice(_FAMILIES).title()}",
        "street": f"{rng.choice(_PRODUCTS).title()} Lane {rng.randrange(1, 180)}",
        "town": rng.choice(_TOWNS),
    }
    note = prose.cut(rng, size - 50 * len(lines) - 130)
    return {"lines": lines, "address": address, "gift": rng.random() < 0.2, "note": note}


def profile(rng: random.Random, prose: Prose, about: str, size: int) -> dict[str, object]:
    return {
        "name": f"{rng.choice(_NAMES).title()} {rng.choice(_FAMILIES).title()}",
        "town": rng.choice(_TOWNS),
        "born": 1940 + rng.randrange(65),
        "interests": rng.sample(_INTERESTS, 3),
        "newsletter": rng.random() < 0.3,
        "about": blocks(rng, prose, size - 145),
    }


def booking(rng: random.Random, prose: Prose, about: str, size: int) -> dict[str, object]:
    passengers = [{"name": author(rng), "age": rng.randrange(4, 80)} for _ in range(max(1, size // 2 // 35))]
    return {
        "journey": about,
        "date": f"2019-0{rng.randrange(7, 10)}-{rng.randrange(10, 29)}",
        "passengers": passengers,
        "wishes": prose.cut(rng, size - 70 - 35 * len(passengers) - len(about)),
    }


def telemetry(rng: random.Random, prose: Prose, about: str, size: int) -> dict[str, object]:
    """A device's report: readings for two thirds of the size and the tail of its log."""
    readings = [
        {"sensor": rng.choice(_SENSORS), "value": round(rng.uniform(0, 100), 2), "second": rng.randrange(60)}
        for _ in range(max(1, size * 2 // 3 // 48))
    ]
    log = prose.cut(rng, size - 48 * len(readings) - 60)
    return {"device": f"node-{rng.randrange(10**6):06d}", "readings": readings, "log": log}


Writer = Callable[[random.Random, Prose, str, int], dict[str, object]]

_COMMENT = ("comment", "/api/comments", comment)
_FEEDBACK = ("comment", "/api/feedback", comment)
_MESSAGE = ("message", "/api/messages", message)
_PROFILE = ("profile", "/api/profile", profile)

#: The JSON posts of each kind of site, drawn with equal chance: (name of the request, path, who writes it).
POSTS: dict[str, tuple[tuple[str, str, Writer], ...]] = {
    "news": (_COMMENT, _COMMENT, _PROFILE),
    "shop": (("order", "/api/orders", order), ("review", "/api/reviews", review)),
    "files": (("comment", "/api/notes", comment), _PROFILE),
    "deck": (_MESSAGE,),
    "api": (("telemetry", "/api/events", telemetry), ("telemetry", "/api/readings", telemetry)),
    "status": (_FEEDBACK, ("telemetry", "/api/heartbeats", telemetry)),
    "forum": (("post", "/api/posts", thread_post), _MESSAGE),
    "docs": (_FEEDBACK, _PROFILE),
    "travel": (("booking", "/api/bookings", booking), ("review", "/api/reviews", review)),
    "video": (_COMMENT, _PROFILE),
    "games": (_MESSAGE, ("telemetry", "/api/scores", telemetry)),
    "learn": (("comment", "/api/answers", comment), _PROFILE),
}


def json_post(rng: random.Random, prose: Prose, site_kind: str, about: str) -> tuple[str, str, bytes]:
    """One JSON post to a site of this kind about the path `about`: its name, its path, its body."""
    name, path, write = rng.choice(POSTS[site_kind])
    size = size_bytes(rng, POST_MEDIAN_BYTES, POST_SIGMA, POST_MIN_BYTES, POST_MAX_BYTES)
    return name, path, _encode(write(rng, prose, about[-80:], size))


def upload(rng: random.Random) -> tuple[str, bytes]:
    """A file on its way up: content type and body, half of them as browsers send forms, half raw."""
    size = size_bytes(rng, UPLOAD_MEDIAN_BYTES, UPLOAD_SIGMA, UPLOAD_MIN_BYTES, UPLOAD_MAX_BYTES)
    if rng.random() < 0.5:
        return "application/octet-stream", rng.randbytes(size)
    boundary = f"----WebKitFormBoundary{rng.getrandbits(64):016x}"
    name = f"{rng.choice(_INTERESTS).replace(' ', '-')}-{rng.randrange(1000)}.jpg"
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    body = head.encode() + rng.randbytes(max(size - 250, 750)) + f"\r\n--{boundary}--\r\n".encode()
    return f"multipart/form-data; boundary={boundary}", body
