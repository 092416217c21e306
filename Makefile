# Every target sets itself up: all it needs is Python 3.11, make, git and a package registry.
# `make help` lists the targets.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
CODE   := ledger_core api verifier migrations sdk tests tools

.DEFAULT_GOAL := help
.PHONY: help demo serve test lint suite types style format bench bench-proxy bench-day campaign conformance pins zipapp clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 22

# --require-hashes and an editable install do not go together in one command, so there are two. The
# second may not reach for anything: its build backend is pinned among the first's.
$(READY): requirements/dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

demo: $(READY)  ## append, export, verify and be caught cheating, in a minute
	$(BIN)/python -m api.demo

serve: $(READY)  ## serve a ledger kept in ./data
	$(BIN)/ledgergrid serve --data ./data

# Style is told at once; types are checked beside the tests, which leave a core now and then.
test: style  ## everything a change must pass
	$(MAKE) --no-print-directory --jobs=2 types suite

lint: style types  ## style, types and which way imports go

suite: $(READY)
	$(BIN)/pytest -n logical

types: $(READY)
	$(BIN)/mypy $(wildcard $(CODE))

style: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

format: $(READY)  ## put the source into its one shape
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

bench: $(READY)  ## measure, and compare with the targets
	$(BIN)/python -m tests.bench

bench-proxy: $(READY)  ## measure the proxy beside a bare one and beside agentic-ledger
	$(BIN)/python -m tests.bench.proxy

bench-day: $(READY)  ## live through a busy day in minutes: 200,000 calls, memory, search
	$(BIN)/python -m tests.bench.day

campaign: $(READY)  ## the slow tests: crashes, power cuts, long random histories
	$(BIN)/pytest -m campaign -p no:randomly

conformance: $(READY)  ## let tools nobody here wrote check us
	PATH="$(CURDIR)/$(BIN):$$PATH" tests/conformance/run

zipapp: $(READY)  ## the verifier as one file, in build/
	$(BIN)/python tools/build_zipapp.py build/ledgergrid-verify.pyz

COMPILE = $(BIN)/uv pip compile --python-version 3.11 --universal \
	--generate-hashes --no-header --no-emit-index-url --quiet $(UPGRADE)
AGREED  = --constraint requirements/dev.txt

# dev.txt first; the others are cut from it, so that one version of a thing is used everywhere.
pins: $(READY)  ## refresh requirements/*.txt (make pins UPGRADE=--upgrade)
	$(COMPILE) pyproject.toml --extra sdk --extra server --group dev --output-file requirements/dev.txt
	$(COMPILE) pyproject.toml $(AGREED) --extra sdk --extra server --output-file requirements/server.txt
	$(COMPILE) pyproject.toml $(AGREED) --output-file requirements/base.txt
	$(COMPILE) $(AGREED) --group build --output-file requirements/build.txt

clean:  ## remove everything that was built
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
