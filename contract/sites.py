"""The sites behind the edge, most visited first: what the origins serve by Host and the visitors ask for.

Popularity is Zipf's law with exponent `ZIPF_EXPONENT` over the position in `SITES`, so the first site gets about
a quarter of the requests and the last one a few in a thousand.
"""

import msgspec

ZIPF_EXPONENT = 1.1

#: Every answer made by an origin carries this header, with the site's host. An answer without it was made by
#: the edge, which is how a client tells the edge's 404 from an origin's.
ORIGIN_HEADER = "X-Origin-Site"


class SiteSpec(msgspec.Struct, frozen=True):
    """A site: the host name that chooses it, what kind of site it is, and what it calls itself."""

    host: str
    kind: str
    title: str


SITES: tuple[SiteSpec, ...] = (
    SiteSpec("news.example", "news", "The Daily Meridian"),
    SiteSpec("shop.example", "shop", "Harbour & Pine"),
    SiteSpec("deck.example", "deck", "Postdeck"),
    SiteSpec("forum.example", "forum", "The Long Table"),
    SiteSpec("files.example", "files", "Cratebox"),
    SiteSpec("api.example", "api", "Fieldpoint API"),
    SiteSpec("video.example", "video", "Lanternlight"),
    SiteSpec("travel.example", "travel", "Faraday Tours"),
    SiteSpec("docs.example", "docs", "Quillstone Handbook"),
    SiteSpec("shop-02.example", "shop", "Copper Kettle Kitchenware"),
    SiteSpec("sport.example", "news", "Touchline"),
    SiteSpec("learn.example", "learn", "Evening School"),
    SiteSpec("status.example", "status", "Quillstone Status"),
    SiteSpec("forum-02.example", "forum", "Allotment Talk"),
    SiteSpec("weather.example", "news", "Weatherglass"),
    SiteSpec("shop-03.example", "shop", "Second Chapter Books"),
    SiteSpec("games.example", "games", "Rookery Games"),
    SiteSpec("files-02.example", "files", "Parcel Drop"),
    SiteSpec("deck-02.example", "deck", "Chirrup"),
    SiteSpec("finance.example", "news", "Ledger & Coin"),
    SiteSpec("api-02.example", "api", "Tidewater Telemetry"),
    SiteSpec("recipes.example", "learn", "Salt, Fat, Butter"),
    SiteSpec("shop-04.example", "shop", "Northlight Outdoor"),
    SiteSpec("video-02.example", "video", "Matinee"),
    SiteSpec("forum-03.example", "forum", "Bench Vice"),
    SiteSpec("travel-02.example", "travel", "Sleeper Trains"),
    SiteSpec("docs-02.example", "docs", "Opal Compiler Manual"),
    SiteSpec("shop-05.example", "shop", "Paper Lantern Stationery"),
    SiteSpec("science.example", "news", "Field Notes"),
    SiteSpec("files-03.example", "files", "Mirror Lake"),
    SiteSpec("status-02.example", "status", "Cratebox Status"),
    SiteSpec("learn-02.example", "learn", "Chalk & Slate"),
    SiteSpec("games-02.example", "games", "Pixel Orchard"),
    SiteSpec("forum-04.example", "forum", "Night Sky Watchers"),
    SiteSpec("shop-06.example", "shop", "Wick & Wax"),
    SiteSpec("api-03.example", "api", "Postcode Lookup"),
    SiteSpec("culture.example", "news", "Proscenium"),
    SiteSpec("deck-03.example", "deck", "Noticeboard"),
    SiteSpec("shop-07.example", "shop", "Spoke & Chain Cycles"),
    SiteSpec("travel-03.example", "travel", "Harbour Ferries"),
    SiteSpec("docs-03.example", "docs", "Heron Framework"),
    SiteSpec("local.example", "news", "The Riverside Echo"),
    SiteSpec("shop-08.example", "shop", "Moss Garden Centre"),
    SiteSpec("video-03.example", "video", "Backlot"),
    SiteSpec("learn-03.example", "learn", "Sixty Minute Piano"),
    SiteSpec("forum-05.example", "forum", "Homebrew Radio"),
    SiteSpec("files-04.example", "files", "Lab Archive"),
    SiteSpec("games-03.example", "games", "Correspondence Chess"),
    SiteSpec("status-03.example", "status", "Fieldpoint Status"),
    SiteSpec("shop-09.example", "shop", "Anchor Chandlery"),
    SiteSpec("api-04.example", "api", "Timetable Feed"),
    SiteSpec("museum.example", "learn", "Museum of Small Things"),
)
