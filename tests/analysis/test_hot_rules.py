"""The direct evidence names the rule that held inspectors, not the one that ran often."""

from analysis.hot_rules import WINDOW_S, HotRules
from contract.messages import HotRule
from contract.vocabulary import Pool


def _hot(rule: str, held_s: float) -> HotRule:
    return HotRule(rule, held_s, Pool.PRIMARY)


def test_nothing_held_is_no_evidence() -> None:
    rules = HotRules()
    rules.observe(0.0, "a", None)
    rules.observe(0.1, "b", _hot("ordinary", 0.0004))
    assert rules.hottest(0.2) is None


def test_the_longest_total_hold_wins_over_the_single_longest() -> None:
    """One odd long hold on one node is not the fleet's culprit."""
    rules = HotRules()
    rules.observe(0.0, "a", _hot("odd", 2.0))
    for t, node in ((0.1, "a"), (0.2, "b"), (0.3, "c")):
        rules.observe(t, node, _hot("culprit", 0.9 + t))
    hot = rules.hottest(0.4)
    assert hot is not None
    assert (hot.rule, hot.held_s, hot.nodes, hot.reports) == ("culprit", 1.2, 3, 3)


def test_evidence_is_forgotten_after_the_window() -> None:
    rules = HotRules()
    rules.observe(0.0, "a", _hot("culprit", 3.0))
    assert rules.hottest(WINDOW_S) is not None
    assert rules.hottest(WINDOW_S + 0.1) is None
