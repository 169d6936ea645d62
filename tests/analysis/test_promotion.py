"""UNKNOWN never promotes: too few requests, or too many bad ones, are no proof."""

import pytest

from analysis.promotion import MIN_DUE, SoakEvidence, judge_soak
from contract.vocabulary import Verdict


@pytest.mark.parametrize(
    ("due", "bad", "verdict", "word"),
    [
        (0, 0, Verdict.UNKNOWN, "too little"),
        (MIN_DUE - 1, 0, Verdict.UNKNOWN, "too little"),
        (MIN_DUE, 0, Verdict.PASS, "0 of 175"),
        (1000, 19, Verdict.PASS, "19 of 1,000"),
        (1000, 20, Verdict.UNKNOWN, "not below 2 %"),
        (1000, 1000, Verdict.UNKNOWN, "not below 2 %"),
    ],
)
def test_judgement(due: int, bad: int, verdict: Verdict, word: str) -> None:
    got, why = judge_soak(SoakEvidence().add(due, bad))
    assert got is verdict
    assert word in why
