"""The judgement of a rollout: guards, promotion, evidence. Pure: no clock, no I/O; time is an argument.

Now: the absolute guard (`guard`), the rule that held inspectors longest (`hot_rules`), the evidence of a soak
(`promotion`). The sequential test between canary and control stands beside them when rollouts have stages.
"""
