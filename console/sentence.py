"""One plain sentence for the back row, for each status word. In: `Facts`. Out: words. Pure."""

from collections.abc import Callable

from console.facts import Facts
from contract.vocabulary import StatusWord

#: Fewer 502s than this among the bad answers, and the sentence does not speak of 502.
MOSTLY = 0.5


def sentence(word: StatusWord, facts: Facts) -> str:
    return SENTENCES[word](facts)


def _starting(facts: Facts) -> str:
    if facts.nodes_up < facts.nodes or not facts.nodes:
        return f"Starting: {facts.nodes_up} of {facts.nodes} nodes answer"
    return f"All {facts.nodes} nodes answer; waiting for the first page to be served"


def _healthy(facts: Facts) -> str:
    if facts.silent:
        return f"Traffic is served, but {_names(facts.silent)} {_be(facts.silent)} silent"
    on = f" on {facts.version}" if facts.version else ""
    if not facts.intended:
        return f"All {facts.nodes} nodes serve pages{on}"
    return f"All traffic is served by {facts.nodes} nodes{on}"


def _pushing(facts: Facts) -> str:
    what = facts.target or "A new rule set"
    if facts.confirmed_all_t is not None:
        return f"{what} runs on {facts.confirmed} of {facts.nodes} nodes; watching what it does"
    return f"{what} is on its way: {facts.confirmed} of {facts.nodes} nodes run it"


def _bad_gateway(facts: Facts) -> str:
    if facts.nodes and not facts.nodes_up:
        return "No node answers"
    failing = _failing(facts)
    if facts.reverted_t is not None:
        return f"Every node is back on {facts.earlier or 'the earlier rules'}, and still {failing}"
    return failing[0].upper() + failing[1:] + ORIGINS_ARE[facts.origins_up]


def _rolling_back(facts: Facts) -> str:
    if facts.reverted_t is not None:
        return f"All nodes are back on {facts.earlier or 'the earlier rules'}; watching that traffic stays good"
    what = "Automated rollback" if facts.automated else "Rollback"
    on = f" on {facts.earlier}" if facts.earlier else ""
    return f"{what} in progress: {facts.back} of {facts.nodes} nodes back{on}"


def _recovered(facts: Facts) -> str:
    if facts.push_t is None or facts.served_again_t is None:
        return "All traffic is served again"
    if not facts.outage:
        return "The push was taken back; its users saw no outage"
    return f"All traffic is served again, {facts.served_again_t - facts.push_t:.1f} s after the push"


def _unprotected(facts: Facts) -> str:
    where = f"{facts.kill_switch_on} of {facts.nodes} nodes"
    return f"Traffic is served without inspection: the kill switch is on at {where}"


def _stuck(facts: Facts) -> str:
    if not facts.waiting_for:
        return "The rollback is stuck: not every node has confirmed it"
    have = "has" if len(facts.waiting_for) == 1 else "have"
    return f"The rollback is stuck: {_names(facts.waiting_for)} {have} not confirmed it"


def _invalid(facts: Facts) -> str:
    share = 100 * facts.unsent / max(facts.intended, 1)
    return f"This run cannot be trusted: {share:.1f} % of its requests were never sent"


def _failing(facts: Facts) -> str:
    share = f"{100 * (facts.bad_ratio or 0.0):.0f} %"
    if facts.bad_gateway_share >= MOSTLY:
        return f"the edge answers 502 to {share} of requests"
    return f"{share} of requests fail at the edge"


def _names(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _be(names: tuple[str, ...]) -> str:
    return "is" if len(names) == 1 else "are"


ORIGINS_ARE: dict[bool | None, str] = {
    True: "; the origins are healthy",
    False: "; the origins do not answer either",
    None: "",
}

SENTENCES: dict[StatusWord, Callable[[Facts], str]] = {
    StatusWord.STARTING: _starting,
    StatusWord.HEALTHY: _healthy,
    StatusWord.PUSHING: _pushing,
    StatusWord.BAD_GATEWAY: _bad_gateway,
    StatusWord.ROLLING_BACK: _rolling_back,
    StatusWord.RECOVERED: _recovered,
    StatusWord.UNPROTECTED: _unprotected,
    StatusWord.STUCK: _stuck,
    StatusWord.INVALID: _invalid,
}
