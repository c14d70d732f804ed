# `make demo` and `make test` need nothing but Python 3.11 or later: each makes a .venv
# from pinned, hashed requirements (with uv when it is there, else venv and pip) and runs.
# The second time there is nothing to install, and each starts at once.

PYTHON := $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	command -v $$p >/dev/null 2>&1 && \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && \
	echo $$p && break; done)
VENV := .venv
export PYTHONPATH := $(CURDIR)/src
BIN := $(VENV)/bin

# Installs the requirements file $(1) into the environment.
install = if command -v uv >/dev/null 2>&1; \
	then uv pip install -q --python $(BIN)/python --require-hashes -r $(1); \
	else $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r $(1); fi

.PHONY: help demo test bench bench-peers check docs site site-of lock clean

help:  ## Show what there is
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/'

demo: $(VENV)/.run-ready  ## Count the words of a stream; DEMO_SECONDS=30
	@$(BIN)/python -m millstream demo

# Tests start hundreds of processes: without bytecode each would compile its libraries.
test: export PYTHONDONTWRITEBYTECODE :=
test: export PYTHONPYCACHEPREFIX := $(CURDIR)/$(VENV)/pycache
test: $(VENV)/.dev-ready  ## Run all tests; PYTEST_ARGS="-k window"
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

bench: $(VENV)/.dev-ready  ## Measure, as ratios; BENCH_ARGS="--list" shows what
	@$(BIN)/python bench/run.py $(BENCH_ARGS)

bench-peers: $(VENV)/.dev-ready  ## Install what `make bench` compares with, apart
	@$(BIN)/python bench/peers.py

check: $(VENV)/.dev-ready  ## Format, lint, layers, types, tests, coverage
	@./check

docs: $(VENV)/.dev-ready  ## Write the pages that are made from the code
	@$(BIN)/python docs/generate.py

site:  ## Build the documents, strictly, in an environment of their own
	@$(MAKE) -s VENV=.venv-docs site-of

site-of: $(VENV)/.docs-ready
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

lock:  ## Pin the requirements anew; needs uv
	uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-header \
		-o requirements/run.txt pyproject.toml
	uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-header \
		-c requirements/run.txt --extra ray --extra files \
		-o requirements/cluster.txt pyproject.toml
	uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-header \
		-c requirements/cluster.txt --group dev -o requirements/dev.txt pyproject.toml
	uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-header \
		-c requirements/dev.txt --group build -o requirements/build.txt
	uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-header \
		--group docs -o requirements/docs.txt

clean:  ## Remove the environment and caches
	rm -rf $(VENV) .venv-docs .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache \
		.coverage site build dist

# An environment whose interpreter has gone is made anew.
$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Millstream needs Python 3.11 or later, and none was found on PATH" >&2; exit 1; }
	@rm -rf $(VENV)
	@if command -v uv >/dev/null 2>&1; then uv venv -q --python $(PYTHON) $(VENV); \
	else $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "this Python has no venv module (on Debian: apt-get install python3-venv)" >&2; exit 1; }; fi

$(VENV)/.run-ready: requirements/run.txt | $(VENV)/bin/python
	@echo "installing the requirements into $(VENV)" >&2
	@$(call install,$<)
	@touch $@

$(VENV)/.docs-ready: requirements/docs.txt | $(VENV)/bin/python
	@echo "installing the requirements into $(VENV)" >&2
	@$(call install,$<)
	@touch $@

$(VENV)/.dev-ready: requirements/dev.txt | $(VENV)/bin/python
	@echo "installing the requirements into $(VENV)" >&2
	@$(call install,$<)
	@touch $@ $(VENV)/.run-ready
