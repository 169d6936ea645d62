"""Objectives hold bounds against a score, and say the result in a sentence with numbers."""

import pytest

from drills.objective import Objective, number, weigh
from drills.score import is_score_path, score
from tests.fakes.record import make_record

SCORE = score(make_record())


@pytest.mark.parametrize(
    ("objective", "met", "sentence"),
    [
        (Objective("bad_ratio.peak", at_least=0.8), True, "bad_ratio.peak 0.8998 is at least 0.8"),
        (Objective("bad_ratio.peak", at_least=0.95), False, "bad_ratio.peak 0.8998 is under 0.95"),
        (Objective("bad_ratio.peak", at_least=0.8998), True, "bad_ratio.peak 0.8998 is at least 0.8998"),
        (Objective("timing_s.act", at_most=0.1), False, "timing_s.act 0.114 is over 0.1"),
        (Objective("timing_s.act", at_most=0.114), True, "timing_s.act 0.114 is at most 0.114"),
        (Objective("timing_s.act", at_most=1, at_least=0.2), False, "timing_s.act 0.114 is under 0.2"),
        (Objective("wall.culprit_rule", equals="100531"), True, "wall.culprit_rule is 100531"),
        (Objective("wall.culprit_rule", equals="1"), False, "wall.culprit_rule is 100531, not 1"),
        (Objective("wall.culprit_rule", at_most=1), False, "wall.culprit_rule is 100531, which is no number"),
        (Objective("act_s_by_node.nrt-2", at_most=1), True, "act_s_by_node.nrt-2 0.114 is at most 1"),
        (Objective("act_s_by_node.lhr-1", at_most=1), False, "act_s_by_node.lhr-1 was not measured"),
        (Objective("reconciliation.unexplained", at_most=0), True, "reconciliation.unexplained 0 is at most 0"),
    ],
)
def test_an_objective_is_weighed(objective: Objective, met: bool, sentence: str) -> None:
    (result,) = weigh(SCORE, [objective], changed=False)
    assert (result.met, result.sentence) == (met, sentence)


def test_as_shipped_is_skipped_only_when_the_drill_was_changed() -> None:
    objective = Objective("bad_ratio.peak", at_least=0.95, as_shipped=True)
    assert weigh(SCORE, [objective], changed=False)[0].met is False
    skipped = weigh(SCORE, [objective], changed=True)[0]
    assert skipped.met is None
    assert skipped.value == 0.8998
    assert "--set" in skipped.sentence


@pytest.mark.parametrize("bounds", [{}, {"at_most": 1.0, "equals": "x"}, {"at_least": 1.0, "equals": "x"}])
def test_bounds_are_numbers_or_a_text(bounds: dict[str, float | str]) -> None:
    with pytest.raises(ValueError, match="objective ready_s: give"):
        Objective("ready_s", **bounds)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("bad_ratio.peak", True),
        ("wall.culprit_rule", True),
        ("act_s_by_node.ams-1", True),
        ("environment.cores", True),
        ("bad_ratio.peek", False),
        ("wall", True),
        ("wall.", False),
    ],
)
def test_only_keys_of_the_score_can_be_asked_about(path: str, known: bool) -> None:
    assert is_score_path(path) is known


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.8, "0.8"), (1544.0, "1544"), (1_234_567.0, "1,234,567"), (0.000313, "0.000313"), (0.0000313, "0.000031")],
)
def test_numbers_read_like_numbers(value: float, text: str) -> None:
    assert number(value) == text
