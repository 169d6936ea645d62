"""Decides the one word at the top of the screen, and when a push has been recovered from.

In: `Facts`. Out: a `StatusWord`; the first rule that holds wins. Pure. There is no word for "unknown": without
evidence a run that has started keeps its word, and one that has not is STARTING.
"""

from collections.abc import Callable

from console.evidence import BAD_ABOVE, CALM_BELOW
from console.facts import Facts
from contract.vocabulary import StatusWord

#: A run with more than this share of its requests unsent cannot be trusted; judged from this many on.
UNSENT_ABOVE = 0.01
UNSENT_MIN_INTENDED = 200

#: Good for this long after a remedy is recovered.
RECOVERED_AFTER_S = 3.0

#: So long after the last node confirmed, answers that were already under way may still be bad.
AFTERMATH_S = 2.0

#: Users meet what was pushed a little later; calling that HEALTHY would be a flash of a wrong word.
SETTLED_AFTER_S = 3.0


def invalid(facts: Facts) -> bool:
    return facts.intended >= UNSENT_MIN_INTENDED and facts.unsent > UNSENT_ABOVE * facts.intended


def traffic_bad(facts: Facts) -> bool:
    """Down above BAD_ABOVE, and once down, until below CALM_BELOW."""
    threshold = CALM_BELOW if facts.previous is StatusWord.BAD_GATEWAY else BAD_ABOVE
    return facts.bad_ratio is not None and facts.bad_ratio > threshold


def starting(facts: Facts) -> bool:
    ready = facts.nodes > 0 and facts.nodes_up == facts.nodes
    served = facts.bad_ratio is not None and not traffic_bad(facts)
    return not facts.started and not (ready and served)


def rolling_back(facts: Facts) -> bool:
    """From the command until every node confirmed and the answers already under way are through."""
    if facts.rollback_t is None or facts.recovered:
        return False
    if facts.reverted_t is None:
        return True
    return not traffic_bad(facts) or facts.now_t - facts.reverted_t <= AFTERMATH_S


def pushing(facts: Facts) -> bool:
    """Until every node has it and it has shown what it does."""
    if facts.out:
        return True
    if facts.confirmed_all_t is None or facts.rollback_t is not None or facts.recovered:
        return False
    return facts.now_t - facts.confirmed_all_t < SETTLED_AFTER_S


def unprotected(facts: Facts) -> bool:
    return facts.kill_switch_on > 0 and facts.bad_ratio is not None and not traffic_bad(facts)


RULES: tuple[tuple[StatusWord, Callable[[Facts], bool]], ...] = (
    (StatusWord.INVALID, invalid),
    (StatusWord.STARTING, starting),
    (StatusWord.STUCK, lambda facts: facts.stuck),
    (StatusWord.UNPROTECTED, unprotected),
    (StatusWord.ROLLING_BACK, rolling_back),
    (StatusWord.BAD_GATEWAY, traffic_bad),
    (StatusWord.PUSHING, pushing),
    (StatusWord.RECOVERED, lambda facts: facts.recovered),
    (StatusWord.HEALTHY, lambda facts: facts.bad_ratio is not None),
)


def status_word(facts: Facts) -> StatusWord:
    return next((word for word, holds in RULES if holds(facts)), facts.previous)


def recovered_since(facts: Facts) -> float | None:
    """Since when all is served again, once that has held for RECOVERED_AFTER_S after a remedy; else None."""
    if facts.recovered or facts.remedied_t is None or facts.good_since is None:
        return None
    # Without an outage there was nothing to return from: good counts from the remedy.
    since_t = facts.good_since if facts.outage else max(facts.good_since, facts.remedied_t)
    held_s = facts.now_t - max(since_t, facts.remedied_t)
    return since_t if held_s >= RECOVERED_AFTER_S else None
