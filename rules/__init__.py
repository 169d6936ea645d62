"""The rule language: model, parse, compile, evaluate. Pure and synchronous; knows no socket and no process."""
