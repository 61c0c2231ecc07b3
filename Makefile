# Every command of the project. `make` alone lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-all lint types bench docs lock clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# The environment is made from the lock file, every package checked against its hash, and again only when the lock changes.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Tidings needs Python 3.11 or later; $(PYTHON) is older. Try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run-installed: requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "Preparing the environment in $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev-installed: requirements-dev.lock pyproject.toml | $(VENV)/bin/python
	@echo "Preparing the environment for development in $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.run-installed

demo: $(VENV)/.run-installed ## the sample newsroom, end to end, for real (ARGS=--once: and exit)
	@$(BIN)/tidings demo $(ARGS)

test: lint types ## lint, types, import contracts and the suite
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" -q $(ARGS)

test-all: lint types ## the same with what takes longer
	$(BIN)/python -m pytest -n 2 --dist loadfile -q $(ARGS)

lint: $(VENV)/.dev-installed ## style and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

types: $(VENV)/.dev-installed ## strict types
	$(BIN)/mypy

bench: $(VENV)/.dev-installed ## the figures of docs/performance.md, anew
	$(BIN)/python -m bench $(ARGS)

docs: $(VENV)/.dev-installed ## write the generated reference pages
	$(BIN)/python -m docs.generate

lock: $(VENV)/.dev-installed ## lock the dependencies anew, with hashes
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --extra build --output-file requirements.lock pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --extra dev --output-file requirements-dev.lock pyproject.toml

clean: ## take away what was made
	rm -rf $(VENV) .demo public .mypy_cache .ruff_cache .pytest_cache .hypothesis
