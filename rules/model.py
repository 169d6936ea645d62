"""A rule set as its author writes it: frozen records, nothing compiled yet."""

import msgspec

from contract.vocabulary import Action, Engine, Target


class RuleSetError(ValueError):
    """A rule set that cannot be used. The message is one line and names the key path, or rule and position."""


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rule: where to look for which pattern, and what a match does.

    `engine` overrides the set's. A pattern has `re` syntax for backtracking and RE2 syntax for linear.
    """

    id: str
    pattern: str
    targets: tuple[Target, ...]
    action: Action = Action.BLOCK
    title: str = ""
    engine: Engine | None = None


class RuleSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rules in the order in which they are evaluated, and the engine of those that name none."""

    name: str
    rules: tuple[Rule, ...]
    description: str = ""
    engine: Engine = Engine.BACKTRACKING

    def engine_of(self, rule: Rule) -> Engine:
        return rule.engine or self.engine
