"""The default fleet: eight nodes in four points of presence, and where their users are at 13:42 UTC.

Every early cohort has a control in its own PoP. Shares are what the traffic schedule intends; what a node
really gets is measured from counters, never assumed.
"""

import msgspec

from contract.vocabulary import Cohort


class NodeSpec(msgspec.Struct, frozen=True):
    """A node's place in the fleet."""

    name: str
    pop: str
    region: str
    cohort: Cohort


class NodeEndpoint(msgspec.Struct, frozen=True):
    """Where a running node answers: two base URLs, `http://host:port`."""

    name: str
    edge: str
    admin: str


class Endpoints(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where everything of one running stack answers (base URLs), as handed to processes in a JSON file."""

    origins: str
    deployer: str
    console: str
    nodes: tuple[NodeEndpoint, ...]


#: Share of users by region at 13:42 UTC on a working day.
REGION_SHARES: dict[str, float] = {"europe": 0.45, "us_east": 0.25, "us_west": 0.12, "asia": 0.18}

#: What the screen calls a region.
REGION_TITLES: dict[str, str] = {"europe": "Europe", "us_east": "US East", "us_west": "US West", "asia": "Asia"}

FLEET: tuple[NodeSpec, ...] = (
    NodeSpec("ams-1", "ams", "europe", Cohort.HOLD_BACK),
    NodeSpec("ams-2", "ams", "europe", Cohort.WORLD),
    NodeSpec("iad-1", "iad", "us_east", Cohort.HOLD_BACK),
    NodeSpec("iad-2", "iad", "us_east", Cohort.CANARY),
    NodeSpec("sjc-1", "sjc", "us_west", Cohort.WORLD),
    NodeSpec("sjc-2", "sjc", "us_west", Cohort.DOGFOOD),
    NodeSpec("nrt-1", "nrt", "asia", Cohort.WORLD),
    NodeSpec("nrt-2", "nrt", "asia", Cohort.GUINEA_PIGS),
)

NODES_BY_NAME: dict[str, NodeSpec] = {node.name: node for node in FLEET}
