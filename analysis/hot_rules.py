"""Direct evidence: which rule inspectors were stuck in. Fed by every report; asked when somebody decides.

A node names the rule that one of its inspectors is evaluating at this moment. On a healthy node that is any
rule, for microseconds; on a burning one it is the culprit, for seconds.
"""

from collections import deque
from dataclasses import dataclass

from contract.messages import HotRule

#: Seconds of reports that count: an inspector may just have been restarted when the question comes.
WINDOW_S = 10.0
#: Shorter holds are ordinary work: a whole set takes well under a millisecond a request.
MIN_HELD_S = 0.05


@dataclass(frozen=True, slots=True)
class HotEvidence:
    """`held_s`: the longest hold seen; `nodes`: how many nodes named the rule; `reports`: how often."""

    rule: str
    held_s: float
    nodes: int
    reports: int


class HotRules:
    """The last seconds of hot rules, fleet-wide."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, str, HotRule]] = deque()

    def observe(self, t: float, node: str, hot: HotRule | None) -> None:
        """Take what `node` reported at `t`."""
        if hot is not None and hot.held_s >= MIN_HELD_S:
            self._seen.append((t, node, hot))
        self._trim(t)

    def hottest(self, t: float) -> HotEvidence | None:
        """The rule with the most time held, summed over reports; None when no rule was held for long."""
        self._trim(t)
        total_by_rule: dict[str, float] = {}
        for _, _, hot in self._seen:
            total_by_rule[hot.rule] = total_by_rule.get(hot.rule, 0.0) + hot.held_s
        if not total_by_rule:
            return None
        rule = max(total_by_rule, key=lambda name: (total_by_rule[name], name))
        mine = [(node, hot.held_s) for _, node, hot in self._seen if hot.rule == rule]
        return HotEvidence(rule, max(held for _, held in mine), len({node for node, _ in mine}), len(mine))

    def _trim(self, t: float) -> None:
        while self._seen and t - self._seen[0][0] > WINDOW_S:
            self._seen.popleft()
