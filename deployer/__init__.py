"""A rule set's path: gates, store, rollout, nodes, analysis, rollback. `client` is the one door for others."""
