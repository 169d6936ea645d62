"""Every outcome has one colour and its place in the bad ratio."""

from console.outcomes import bad_and_ended, split
from contract.vocabulary import BAD_OUTCOMES, Outcome


def test_every_outcome_lands_in_exactly_one_colour() -> None:
    for outcome in Outcome:
        assert sum(split({outcome: 3})) == 3, outcome
    assert split({Outcome.OK: 1, Outcome.BLOCKED: 2, Outcome.BAD_GATEWAY: 4, Outcome.UNSENT: 8, "new": 16}) == (
        3,
        4,
        16,
        8,
    )


def test_bad_over_those_that_ended() -> None:
    counts: dict[str, int] = dict.fromkeys(Outcome, 1)
    assert bad_and_ended(counts) == (len(BAD_OUTCOMES), len(Outcome) - 1)
    assert bad_and_ended({Outcome.UNSENT: 5}) == (0, 0)
