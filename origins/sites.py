"""What each kind of site looks like: its words for things, its colours, how long its servers take.

The list of sites itself is the contract's, because the visitors need it too; this table turns a kind into
paths and pages. `SITES` is re-exported in rank order.
"""

import msgspec

from contract.sites import SITES, SiteSpec

__all__ = ["DEFAULT_SITE", "KINDS", "SITES", "SITES_BY_HOST", "KindSpec", "site_of"]


class KindSpec(msgspec.Struct, frozen=True):
    """A kind of site. `median_ms`: of the time its server takes; `noun`: the path under which its items live."""

    noun: str
    sections: tuple[str, ...]
    tagline: str
    accent: str
    median_ms: float
    layout: str


KINDS: dict[str, KindSpec] = {
    "news": KindSpec("articles", ("world", "politics", "business", "opinion", "weather"),
                     "News and views, morning and evening", "#9f1d20", 18.0, "lead"),
    "shop": KindSpec("products", ("new", "kitchen", "garden", "books", "sale"),
                     "Well made things, posted today", "#1f6f5c", 25.0, "grid"),
    "files": KindSpec("files", ("recent", "shared", "starred", "trash"),
                      "Your files, wherever you left them", "#2459a6", 12.0, "table"),
    "deck": KindSpec("posts", ("home", "mentions", "lists", "trending"),
                     "Everything, in columns", "#1b7fb5", 15.0, "columns"),
    "api": KindSpec("items", ("docs", "pricing", "changelog"),
                    "One call away", "#3d3a8c", 8.0, "table"),
    "status": KindSpec("incidents", ("history", "subscribe"),
                       "How things are, right now", "#2e7d32", 5.0, "table"),
    "forum": KindSpec("threads", ("latest", "unanswered", "members", "rules"),
                      "Pull up a chair", "#7a4b1e", 22.0, "table"),
    "docs": KindSpec("pages", ("guide", "reference", "tutorials", "releases"),
                     "Read the manual, it is a good one", "#4b5563", 10.0, "lead"),
    "travel": KindSpec("journeys", ("departures", "offers", "map", "timetable"),
                       "Slow roads, good views", "#b0611a", 60.0, "grid"),
    "video": KindSpec("films", ("popular", "series", "documentaries", "watchlist"),
                      "Something to watch tonight", "#5b2a86", 35.0, "grid"),
    "games": KindSpec("games", ("new", "multiplayer", "puzzles", "leaderboard"),
                      "One more turn", "#a8324a", 20.0, "grid"),
    "learn": KindSpec("lessons", ("courses", "practice", "teachers", "library"),
                      "An hour well spent", "#0f6b75", 28.0, "lead"),
}  # fmt: skip

SITES_BY_HOST: dict[str, SiteSpec] = {site.host: site for site in SITES}

#: Answers for a Host that nobody has registered, as a hosting company's default page does.
DEFAULT_SITE: SiteSpec = SITES[0]


def site_of(host_header: str) -> SiteSpec:
    """The site that a Host header (with or without a port) names; the default site for any other."""
    return SITES_BY_HOST.get(host_header.partition(":")[0].lower(), DEFAULT_SITE)
