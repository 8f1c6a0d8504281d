# Keepline needs Python 3.11 and make, nothing else: `make` lists what can be done.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON := .venv/bin/python
ARGS ?=
# Without bytecode each process compiles all it loads, and each tester rewrites all assertions anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test slowest edges mutants check bench chaos env lock messages translations chromium clean

help: ## list this
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 18
	@echo "  ARGS=… is handed on to demo, test, slowest, edges, mutants, bench and chaos: make test ARGS='tests/billing -x'"

demo: env translations ## a whole installation with simulated carriers and payments, in this terminal
	$(PYTHON) manage.py demo $(ARGS)

test: env chromium translations ## the tests (the first run installs Chromium, if it may)
	$(PYTHON) -m pytest -n $${PYTEST_WORKERS:-4} $(ARGS)

slowest: env ## the slowest forty tests of the last run, and the slowest files
	$(PYTHON) -m tests.durations $(ARGS)

edges: env chromium translations ## tests that go by the clock, with the clock at the edges of months, years, summer time
	$(PYTHON) -m tests.edges $(ARGS)

mutants: env translations ## changes the code in small ways, and asks which of them no test notices
	$(PYTHON) -m tests.mutation $(ARGS)

check: env chromium translations ## all that CI checks: style, types, imports, security, translations, tests
	.ci/check

bench: env translations ## how much it recharges, and how fast
	$(PYTHON) -m tests.bench $(ARGS)

chaos: env translations ## kills, pauses, lost answers; then the books are compared
	$(PYTHON) -m tests.chaos $(ARGS)

env: ## make .venv from requirements.lock, when that has changed
	@.ci/make-env

lock: env ## write requirements.lock anew from pyproject.toml
	$(PYTHON) -m pip install --quiet --disable-pip-version-check uv
	.venv/bin/uv pip compile --quiet --universal --generate-hashes --extra dev --no-header --no-emit-index-url --output-file requirements.lock pyproject.toml

messages: env ## collect the texts, merge the translations, compile them
	$(PYTHON) manage.py messages

translations: env
	@.venv/bin/pybabel --quiet compile --domain django --directory locale

chromium:
	@.ci/install-chromium

clean: ## remove what can be made again; var/ (the local installation) stays
	@if [ -x $(PYTHON) ]; then $(PYTHON) -m portal.embedded_postgres stop var/test/postgres || true; fi
	rm -rf var/test .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis staticfiles
	find . -path ./.venv -prune -o \( -name __pycache__ -o -name '*.mo' \) -print0 | xargs -0 rm -rf
