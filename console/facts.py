"""What is known about the run at one moment: the input of the status word and of the sentence. Pure."""

import msgspec

from contract.vocabulary import StatusWord


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Times are seconds of the run. Names in `waiting_for` are the nodes that a rollback has not reached."""

    now_t: float
    previous: StatusWord
    started: bool = False  # the run was HEALTHY once, or something was pushed
    nodes: int = 0
    nodes_up: int = 0
    silent: tuple[str, ...] = ()
    bad_ratio: float | None = None  # None: no evidence
    bad_gateway_share: float = 0.0
    good_since: float | None = None
    intended: int = 0
    unsent: int = 0
    version: str = ""  # what most nodes run
    kill_switch_on: int = 0  # nodes
    culprit: str | None = None
    origins_up: bool | None = None
    # The last push; None or False before the first.
    push_t: float | None = None
    target: str = ""
    earlier: str = ""
    confirmed: int = 0
    out: bool = False  # a push is on its way: neither confirmed everywhere nor over
    confirmed_all_t: float | None = None
    outage: bool = False
    automated: bool = False
    rollback_t: float | None = None
    back: int = 0  # nodes on the earlier version again
    stuck: bool = False
    waiting_for: tuple[str, ...] = ()
    reverted_t: float | None = None
    remedied_t: float | None = None
    recovered: bool = False
    served_again_t: float | None = None
