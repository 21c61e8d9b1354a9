# Every target works from a fresh clone: it makes the environment it needs first, and only once.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The first interpreter that really runs, is new enough and can make an environment.
PYTHON ?= $(shell for python in python3.14 python3.13 python3.12 python3.11 python3 python; do \
	"$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo "$$python"; break; }; done)
NO_PYTHON := Terratunnel needs Python 3.11 or newer with its venv module (Debian: apt-get install python3-venv).
NO_COMPILER := A compiled build needs a C compiler and the headers of Python (Debian: apt-get install gcc python3-dev).

BIN := .venv/bin
BENCH_BIN := .venv-bench/bin
PIP := -m pip --disable-pip-version-check --quiet
PACKAGING := pyproject.toml setup.py terratunnel/__init__.py
SOURCES := $(shell find terratunnel -name '*.py')
CODE := terratunnel bench fuzz tests setup.py

# The tests that meet compiled modules: all of the road, at both ends.
COMPILED_TESTS := $(addprefix tests/,protocol http1 mux forwarding properties client testing server/edge \
	server/test_acceptor.py server/test_routes.py server/test_app.py)

FUZZ_SECONDS ?= 10
FUZZ_SEED ?= 1
BENCH_ARGS ?=
# Files of tests run side by side: most of them wait for a process or a database more than they compute.
TEST_WORKERS ?= 2
PARALLEL = --numprocesses $(TEST_WORKERS) --dist loadfile
TEST_ARGS ?=

.PHONY: help run test check lint types layers format coverage fuzz bench compiled picture requirements clean

help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-14s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: .venv/runtime.stamp ## a working tunnel on this machine: server, client and a sample app
	@$(BIN)/terratunnel demo

test: .venv/dev.stamp ## every test (TEST_ARGS="tests/protocol -x" for some)
	$(BIN)/python -m pytest $(PARALLEL) $(TEST_ARGS)

check: lint types layers ## lint, format, types and layers

lint: .venv/dev.stamp ## ruff and flake8
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/flake8 terratunnel --count --select=E9,F63,F7,F82 --show-source --statistics
	$(BIN)/flake8 terratunnel --count --max-complexity=10 --max-line-length=127 --statistics

types: .venv/dev.stamp ## mypy, strict
	$(BIN)/mypy

layers: .venv/dev.stamp ## who may import whom
	$(BIN)/lint-imports --no-cache

format: .venv/dev.stamp ## put the code in the form that lint asks for
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Each package by its own tests alone, so that a line is not "covered" by something that happens to pass over it.
coverage: .venv/dev.stamp ## protocol, http1 and mux: every branch, by their own tests
	@set -e; shopt -s nullglob; for package in protocol http1 mux; do \
		echo "-- $$package"; \
		$(BIN)/python -m coverage run --data-file=.coverage/$$package --source=terratunnel/$$package \
			-m pytest -q tests/$$package tests/properties/test_$${package}*.py; \
		$(BIN)/python -m coverage report --data-file=.coverage/$$package --fail-under=100; \
	done

fuzz: .venv/dev.stamp ## every fuzz target for FUZZ_SECONDS (10) from FUZZ_SEED (1)
	@set -e; for target in fuzz/fuzz_*.py; do \
		echo "-- $$target"; \
		$(BIN)/python $$target --seconds $(FUZZ_SECONDS) --seed $(FUZZ_SEED); \
	done

bench: .venv-bench/wheel.stamp ## the speed table beside nginx, compiled if there is a C compiler (BENCH_ARGS="--rows get")
	$(BENCH_BIN)/python -m bench --python "$(CURDIR)/$(BENCH_BIN)/python" $(BENCH_ARGS)

# Away from the checkout, where only the installed wheel can be imported.
compiled: .venv-bench/wheel.stamp ## the road's unit tests against a wheel compiled by mypyc
	@rm -rf build/compiled && mkdir -p build/compiled && cp -R tests docs pyproject.toml build/compiled/
	@cd build/compiled && ../../$(BENCH_BIN)/python -c 'import sys, terratunnel.protocol.multiplexer as m; \
		sys.exit(None if m.__file__.endswith(".so") else "$(NO_COMPILER)")'
	cd build/compiled && ../../$(BENCH_BIN)/python -m pytest $(PARALLEL) $(COMPILED_TESTS) $(TEST_ARGS)

picture: .venv/dev.stamp ## draw the README's picture from a real run of the demo
	$(BIN)/python docs/pictures/record.py

requirements: .venv/pip-tools.stamp ## requirements*.txt from pyproject.toml, pins kept (UPGRADE=1: the newest)
	CUSTOM_COMPILE_COMMAND="make requirements" $(BIN)/pip-compile $(COMPILE) --extra server \
		--output-file requirements.txt pyproject.toml
	CUSTOM_COMPILE_COMMAND="make requirements" $(BIN)/pip-compile $(COMPILE) --extra server --extra dev \
		--constraint requirements.txt --output-file requirements-dev.txt pyproject.toml

clean: ## remove everything that make made
	rm -rf .venv .venv-bench build dist .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	rm -rf *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

COMPILE := --quiet $(if $(UPGRADE),--upgrade) --generate-hashes --allow-unsafe --strip-extras \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host

# ---- environments: a stamp is as new as what it was made from, so a second run starts at once

.venv/bin/python .venv-bench/bin/python:
	@test -n "$(PYTHON)" || { echo "$(NO_PYTHON)" >&2; exit 1; }
	$(PYTHON) -m venv $(@D:/bin=)

.venv/runtime.stamp: .venv/bin/python requirements.txt $(PACKAGING)
	$(BIN)/python $(PIP) install --require-hashes -r requirements.txt
	$(BIN)/python $(PIP) install --no-deps --editable .
	@touch $@

.venv/dev.stamp: .venv/runtime.stamp requirements-dev.txt
	$(BIN)/python $(PIP) install --require-hashes -r requirements-dev.txt
	@touch $@

.venv/pip-tools.stamp: .venv/bin/python
	$(BIN)/python $(PIP) install 'pip-tools>=7.4'
	@touch $@

.venv-bench/dev.stamp: .venv-bench/bin/python requirements-dev.txt
	$(BENCH_BIN)/python $(PIP) install --require-hashes -r requirements-dev.txt
	@touch $@

# A compiler that can build against this Python, or none: then the wheel is pure and the report says so.
.venv-bench/wheel.stamp: .venv-bench/dev.stamp $(PACKAGING) $(SOURCES)
	@rm -rf build dist
	@if echo '#include <Python.h>' | $${CC:-cc} -fsyntax-only -xc - \
		"-I$$($(BENCH_BIN)/python -c 'import sysconfig; print(sysconfig.get_path("include"))')" 2>/dev/null; \
	then export TERRATUNNEL_COMPILE=1; else echo "$(NO_COMPILER) Going on with a pure one." >&2; fi; \
	$(BENCH_BIN)/python $(PIP) wheel --no-build-isolation --no-deps --wheel-dir dist .
	$(BENCH_BIN)/python $(PIP) install --no-deps --force-reinstall dist/terratunnel-*.whl
	@touch $@
