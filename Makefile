# All commands of the project. `make` alone lists them.
VENV := .venv
BIN  := $(VENV)/bin
ARGS ?=

# Use the first Python that is new enough, else python3, whose version is then reported.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
  $$p -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$p && exit; done; echo python3)

PIP    := $(BIN)/python -m pip --disable-pip-version-check --no-input
PYTEST := $(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder
# Hundreds of tests start a process: let Python keep what it has compiled, also where the machine says otherwise.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test test-all lint types bench faults docs pictures lock clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# Make the environment from the lock, and again only when the lock changes. Every package is checked against its hash.
# An incomplete environment, or one whose Python is gone, is made again.
$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || \
	  { echo "Tidings needs Python 3.11 or later, and there is no $(PYTHON) here. Name one: make $(MAKECMDGOALS) PYTHON=..."; exit 1; }
	@$(PYTHON) -c '$(NEW_ENOUGH)' || \
	  { echo "Tidings needs Python 3.11 or later; this is $$($(PYTHON) --version). Name a newer one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || \
	  { rm -rf $(VENV); echo "$(PYTHON) could not make a virtual environment. On Debian and Ubuntu: apt install python3-venv"; exit 1; }

$(VENV)/.run-installed: requirements.lock pyproject.toml | $(BIN)/python
	@echo "Preparing the environment in $(VENV), once (half a minute) ..."
	@$(PIP) install --quiet --require-hashes -r requirements.lock
	@$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev-installed: requirements-dev.lock pyproject.toml | $(BIN)/python
	@echo "Preparing the environment for development in $(VENV), once (a minute) ..."
	@$(PIP) install --quiet --require-hashes -r requirements-dev.lock
	@$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.run-installed

$(VENV)/.fleet-installed: deploy/requirements.lock | $(VENV)/.run-installed
	@echo "Adding what a fleet needs to $(VENV), once ..."
	@$(PIP) install --quiet --require-hashes -r deploy/requirements.lock
	@touch $@

demo: $(VENV)/.run-installed $(if $(findstring --fleet,$(ARGS)),$(VENV)/.fleet-installed) ## run the sample newsroom end to end, for real (ARGS=--once exits at the end, --fleet sends by three workers)
	@$(BIN)/tidings demo $(ARGS)

test: lint types ## lint, types, import contracts and the tests
	$(PYTEST) -m "not slow" $(ARGS)

test-all: test ## the same, then the slow tests
	$(PYTEST) -m slow --durations=25 $(ARGS)

lint: $(VENV)/.dev-installed ## style and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache --no-logo

types: $(VENV)/.dev-installed ## strict types
	$(BIN)/mypy

bench: $(VENV)/.dev-installed ## measure the figures of docs/performance.md again
	$(BIN)/python -m bench $(ARGS)

faults: $(VENV)/.dev-installed ## kill and disturb it 1,300 times and count what is lost (ARGS=--write updates docs/guarantees.md, --fleet plays on RabbitMQ)
	$(BIN)/python -m tests.faults $(ARGS)

docs: $(VENV)/.dev-installed ## write the generated reference pages
	$(BIN)/python -m docs.generate

pictures: $(VENV)/.dev-installed ## take the pictures of docs/room anew, from the demo, in Chromium
	$(BIN)/python -m docs.room_pictures

UV_LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

lock: $(VENV)/.dev-installed ## lock the dependencies, with hashes (ARGS=--upgrade: to the newest)
	$(UV_LOCK) $(ARGS) --extra build --output-file requirements.lock pyproject.toml
	$(UV_LOCK) $(ARGS) --extra dev --extra bench --output-file requirements-dev.lock pyproject.toml
	$(UV_LOCK) $(ARGS) --extra build --extra cluster --extra s3 --extra otel --output-file deploy/requirements.lock pyproject.toml
	cd tests/tools/matrix && $(abspath $(firstword $(UV_LOCK))) $(wordlist 2,99,$(UV_LOCK)) $(ARGS) --output-file requirements.lock requirements.in

clean: ## delete everything that was generated
	rm -rf $(VENV) .demo public .mypy_cache .ruff_cache .pytest_cache .hypothesis
