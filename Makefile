# One command in, one command to check. The environment is made on demand, from pyproject.toml and constraints.txt.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SOURCES := frontend pooler protos tests

.PHONY: run test check proto bench soak test-deps bench-deps constraints

run: $(INSTALLED)
	$(BIN)/penstock up

# Two at a time, since most tests wait for somebody; one file's share one process, and with it their servers.
test: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile $(ARGS)

check: $(INSTALLED)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python protos/generate.py --check
	@if command -v buf >/dev/null; then buf lint protos; else echo "buf is not at hand: the .proto files were not linted"; fi

proto: $(INSTALLED)
	$(BIN)/python protos/generate.py

bench: $(INSTALLED)
	$(BIN)/python -m tests.bench $(ARGS)

# Many more random histories, seeds and requests, an hour or more, and the benchmarks that count to a million, half of it.
soak: $(INSTALLED)
	PENSTOCK_PROFILE=soak PENSTOCK_SEEDS=5000 $(BIN)/python -m pytest --timeout 0 tests/model tests/simulation tests/interaction/test_hot_and_slow.py
	$(BIN)/python -m tests.bench --soak

# The servers that only Debian's packages bring; without them their tests are skipped, with the reason.
test-deps: $(INSTALLED)
	bash .ci/servers

# What `make bench` measures with and beside, as far as Debian brings it; the rest comes from npm and pip by itself.
bench-deps: $(INSTALLED)
	bash .ci/servers wrk pgbouncer

# Pins what is installed now; run it after a deliberate upgrade.
constraints: $(INSTALLED)
	$(BIN)/pip freeze --exclude-editable > constraints.txt

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@
