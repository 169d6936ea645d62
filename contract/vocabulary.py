"""The words of the whole product, one enum each.

A member's value is at once the metric label, the log field, the word on screen and the word in the report,
so that one search finds all of them.
"""

from enum import StrEnum


class Outcome(StrEnum):
    """What became of one request. A request has exactly one."""

    OK = "ok"  # answered from its origin, whatever the origin's status was
    BLOCKED = "blocked"  # a blocking rule matched: 403
    BAD_GATEWAY = "bad_gateway"  # 502
    UNAVAILABLE = "unavailable"  # 503
    GATEWAY_TIMEOUT = "gateway_timeout"  # 504
    BAD_REQUEST = "bad_request"  # malformed or over a limit: 4xx from the edge
    CLIENT_GONE = "client_gone"  # the client hung up before it was answered
    # Seen by clients alone:
    RESET = "reset"  # connection refused, reset or cut short
    TIMEOUT = "timeout"  # no answer within the client's own deadline
    UNSENT = "unsent"  # due, but no user was free to send it


#: Outcomes that count as bad: 5xx made by the edge, reset or time-out.
BAD_OUTCOMES = frozenset(
    {Outcome.BAD_GATEWAY, Outcome.UNAVAILABLE, Outcome.GATEWAY_TIMEOUT, Outcome.RESET, Outcome.TIMEOUT}
)


class Reason(StrEnum):
    """Why a request had its outcome. Every outcome that is not plain success has one."""

    PROXIED = "proxied"
    RULE_MATCHED = "rule_matched"
    INSPECTION_TIMEOUT = "inspection_timeout"  # no inspector answered before the deadline
    INSPECTION_QUEUE_FULL = "inspection_queue_full"
    INSPECTION_POOL_DOWN = "inspection_pool_down"  # no live inspector in any pool
    ORIGIN_REFUSED = "origin_refused"
    ORIGIN_RESET = "origin_reset"
    ORIGIN_PROTOCOL = "origin_protocol"  # the origin's answer was not HTTP
    ORIGIN_CONNECT_TIMEOUT = "origin_connect_timeout"
    ORIGIN_HEAD_TIMEOUT = "origin_head_timeout"
    ORIGIN_BODY_TIMEOUT = "origin_body_timeout"
    MALFORMED = "malformed"
    HOST_MISSING = "host_missing"
    HEAD_TOO_LARGE = "head_too_large"
    METHOD_REFUSED = "method_refused"
    UPGRADE_REFUSED = "upgrade_refused"
    CLIENT_CLOSED = "client_closed"
    DRAINING = "draining"


class Target(StrEnum):
    """A part of a request that a rule may look at."""

    URI = "uri"  # the raw request target: path and query
    ARGS = "args"  # each query argument's decoded value
    HEADERS = "headers"  # each header's value
    BODY = "body"  # the first inspect_body_bytes, as text


class Engine(StrEnum):
    """How a pattern is matched."""

    BACKTRACKING = "backtracking"  # CPython's re, on every input, never prefiltered
    LINEAR = "linear"  # google-re2, one Set per target


class Action(StrEnum):
    """What a matching rule does."""

    LOG = "log"  # count it and let it pass ("simulate" in 2019); it is executed all the same
    BLOCK = "block"  # 403


class Pool(StrEnum):
    """A group of inspectors in a node."""

    PRIMARY = "primary"
    STANDBY = "standby"


class Standby(StrEnum):
    """What the standby pool holds."""

    NONE = "none"
    SAME = "same"  # the same rules as the primary, as in 2019
    LAST_KNOWN_GOOD = "last_known_good"


class FailurePolicy(StrEnum):
    """What a node does with a request that no inspector judged in time."""

    BAD_GATEWAY = "bad_gateway"  # fail closed, as 2019 showed
    ALLOW = "allow"  # fail open


class Cohort(StrEnum):
    """A node's place in a staged rollout."""

    DOGFOOD = "dogfood"
    GUINEA_PIGS = "guinea_pigs"
    CANARY = "canary"
    WORLD = "world"
    HOLD_BACK = "hold_back"  # the control group, last to be changed


class Verdict(StrEnum):
    """The analysis's judgement of a rollout. UNKNOWN never promotes."""

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"


class RunVerdict(StrEnum):
    """A drill's result: exit codes 0, 1, 2."""

    MET = "met"
    NOT_MET = "not_met"
    INVALID = "invalid"


class RolloutState(StrEnum):
    """Where a rollout is."""

    REFUSED = "refused"  # a gate said no; nothing was shipped
    STAGING = "staging"  # assignments are out, acks are coming in
    BAKING = "baking"  # every node of the stage runs it; evidence is collected
    ANALYSING = "analysing"  # the stage's evidence is being judged
    HOLDING = "holding"  # paused, by a person or for want of evidence
    REVERTING = "reverting"  # the previous set is on its way back
    PROMOTED = "promoted"  # every stage passed
    REVERTED = "reverted"  # every enrolled node confirmed the previous set
    STUCK = "stuck"  # reverting, and some nodes are away


class Strategy(StrEnum):
    """How a rollout widens."""

    EVERYWHERE = "everywhere"  # every node at once, as in 2019
    CANARY = "canary"
    STAGED = "staged"


class StatusWord(StrEnum):
    """The one word at the top of the screen."""

    STARTING = "STARTING"
    HEALTHY = "HEALTHY"
    PUSHING = "PUSHING"
    BAD_GATEWAY = "502"
    ROLLING_BACK = "ROLLING BACK"
    RECOVERED = "RECOVERED"
    UNPROTECTED = "UNPROTECTED"
    STUCK = "STUCK"
    INVALID = "INVALID"


class EventKind(StrEnum):
    """What can happen in a run."""

    RUN_BEGIN = "run_begin"
    TRAFFIC_START = "traffic_start"
    PUSH = "push"  # a rollout was accepted and its assignments leave
    ROLLOUT_STATE = "rollout_state"
    ACK = "ack"  # a node confirmed an assignment
    REFUSAL = "refusal"  # a node refused one and goes on with what it has
    PAGE = "page"  # the first alarm: a guard's condition became true
    CLEARED = "cleared"  # that condition became false again before it had lasted long enough
    DECISION = "decision"  # it was decided to roll back, with the reason in words
    ROLLBACK = "rollback"  # the first mutating command of the rollback was accepted
    REVERTED = "reverted"
    STUCK = "stuck"
    PROMOTED = "promoted"
    KILL_SWITCH = "kill_switch"
    NODE_UP = "node_up"
    NODE_DOWN = "node_down"
    STATUS = "status"  # the status word changed
    RECOVERED = "recovered"
    NOTE = "note"
    RUN_END = "run_end"


class RefusalReason(StrEnum):
    """Why a node refused an assignment."""

    STALE_EPOCH = "stale_epoch"
    WRONG_NODE = "wrong_node"
    UNKNOWN_DIGEST = "unknown_digest"  # the assigned set is neither in-line nor held
    DIGEST_MISMATCH = "digest_mismatch"
    PARSE = "parse"
    COMPILE = "compile"
    ACTIVATION = "activation"  # new inspectors did not become ready in time
