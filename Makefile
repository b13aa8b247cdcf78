# Every target does its own set-up. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
REQ := packaging/requirements
MEMBERS := proto policies agent collector
ARGS ?=

# The system's Python comes first: services and other users can run what it builds, and one in root's home they cannot.
PYTHON ?= $(shell packaging/dev/find-python)
UV_INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- set-up ----------------------------------------------------------------------------------------------------------

.PHONY: setup
setup: $(VENV)/.members ## make .venv with hashed requirements and the four distributions (editable)
	@:

$(VENV)/.bootstrap: $(REQ)/bootstrap.txt
	@echo '  setup     virtual environment in $(VENV)'
	@[ -n '$(PYTHON)' ] || { echo 'setup: no Python 3.11 with venv found; install python3 and python3-venv, or: make setup PYTHON=/path/to/python3.11' >&2; exit 1; }
	@[ -x $(BIN)/python ] && $(BIN)/python -m pip --version >/dev/null 2>&1 || { rm -rf $(VENV); $(PYTHON) -m venv $(VENV); }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(VENV)/.requirements: $(REQ)/dev.txt $(VENV)/.bootstrap
	@echo "  setup     $$(grep -c '^[a-z].*==' $(REQ)/dev.txt) requirements, each checked by hash"
	@$(UV_INSTALL) --require-hashes -r $(REQ)/dev.txt
	@touch $@

$(VENV)/.members: $(VENV)/.requirements $(MEMBERS:%=%/pyproject.toml)
	@echo '  setup     $(MEMBERS) (editable)'
	@$(UV_INSTALL) --no-deps --no-build-isolation $(MEMBERS:%=-e %)
	@touch $@

# What only some tests need: a PostgreSQL server and the driver of a browser.
$(VENV)/.test-extras: $(REQ)/postgres.txt $(REQ)/browser.txt $(VENV)/.requirements
	@echo '  setup     PostgreSQL server and browser driver for tests'
	@$(UV_INSTALL) --require-hashes -r $(REQ)/postgres.txt -r $(REQ)/browser.txt
	@touch $@
