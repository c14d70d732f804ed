# `make demo` and `make test` need nothing but Python 3.11 or later: each makes a .venv
# from pinned, hashed requirements (with uv when it is there, else venv and pip) and runs.

PYTHON := $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	command -v $$p >/dev/null 2>&1 && \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test bench check clean

help:  ## Show what there is
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*##/\t/'

demo: $(VENV)/.run-ready  ## Count the words of a stream; DEMO_SECONDS=30
	@PYTHONPATH=src $(BIN)/python -m millstream demo

test: $(VENV)/.dev-ready  ## Run all tests
	@$(BIN)/python -m pytest -n 2 --dist worksteal $(PYTEST_ARGS)

bench: $(VENV)/.dev-ready  ## Measure; prints ratios
	@PYTHONPATH=src $(BIN)/python bench/run.py $(BENCH_ARGS)

check: $(VENV)/.dev-ready  ## Format, lint, layers, types, tests
	@./check

clean:  ## Remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Millstream needs Python 3.11 or later, and none was found on PATH" >&2; exit 1; }
	@if command -v uv >/dev/null 2>&1; then uv venv -q --python $(PYTHON) $(VENV); \
	else $(PYTHON) -m venv $(VENV); fi

$(VENV)/.run-ready: requirements/run.txt | $(VENV)/bin/python
	@if command -v uv >/dev/null 2>&1; then uv pip install -q --python $(BIN)/python --require-hashes -r $<; \
	else $(BIN)/python -m pip install -q --require-hashes -r $<; fi
	@touch $@

$(VENV)/.dev-ready: requirements/dev.txt | $(VENV)/bin/python
	@if command -v uv >/dev/null 2>&1; then uv pip install -q --python $(BIN)/python --require-hashes -r $<; \
	else $(BIN)/python -m pip install -q --require-hashes -r $<; fi
	@touch $@ $(VENV)/.run-ready
