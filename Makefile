# Two commands for newcomers: `make demo` and `make test`. Everything is installed into .venv from the lock.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
RUN    := $(VENV)/.run-$(shell sha256sum requirements.lock pyproject.toml 2>/dev/null | sha256sum | cut -c1-12)
DEV    := $(VENV)/.dev-$(shell sha256sum requirements-dev.lock pyproject.toml 2>/dev/null | sha256sum | cut -c1-12)
PIP    := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-input
PYTEST_ARGS ?=

.PHONY: help install install-dev demo up doctor test lint format bench pictures lock clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

install: $(RUN) ## install into .venv from requirements.lock
install-dev: $(DEV) ## the same with what the tests need

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than Python 3.11; name a newer one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "error: $(PYTHON) cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 2; }

$(RUN): $(BIN)/python
	@echo "installing from requirements.lock (about half a minute)"
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): $(RUN)
	@echo "installing what the tests need from requirements-dev.lock"
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@

demo: install ## the outage of 2 July 2019 and its automated rollback
	@$(BIN)/badgateway demo

up: install ## the stack at fixed addresses, with users, until Ctrl-C
	@$(BIN)/badgateway up --traffic

doctor: install ## what this machine lacks
	@$(BIN)/badgateway doctor

test: install-dev lint ## ruff, mypy strict and every test
	@$(BIN)/python -m tests.browser
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: install-dev ## ruff and mypy strict
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet . || { echo "error: run: make format" >&2; exit 1; }
	@$(BIN)/mypy

format: install-dev ## put the code into the one format
	@$(BIN)/ruff format .

bench: install-dev ## CPU per proxied request, with and without inspection
	@$(BIN)/python -m benchmarks.edge

pictures: install-dev ## the documentation's pictures from a recorded run: make pictures RUN_TO_SHOW=latest
	@$(BIN)/python -m docs.take_pictures $(or $(RUN_TO_SHOW),latest)

lock: install-dev ## make both lock files anew
	@$(PIP) uv
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --no-annotate --extra build pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --no-annotate --extra build --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock

clean: ## remove what was installed and recorded
	@rm -rf $(VENV) runs build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
