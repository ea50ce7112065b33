# Everything runs in .venv, made from python3 (or PYTHON=...) when it isn't there yet.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed-test
SEEDS ?= 20000
COUNT ?= 1000000
FUZZ_SECONDS ?= 60
ROUNDS ?= 5
BENCH ?=
MINUTES ?= 30
TESTS ?=

.PHONY: help demo test lint simulate differential soak unsteady many bench bench-smoke fuzz clean

help:  ## Show these targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13

demo: .venv/.installed  ## Count the words of the standard library on this machine's cores
	$(BIN)/achilles demo

test: lint  ## Check style and types, run every test
	$(BIN)/python -m pytest --numprocesses 3 --dist loadscope

lint: $(INSTALLED)  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/mypy

simulate: $(INSTALLED)  ## Run the brains on a virtual clock under seeded faults (SEEDS=20000)
	$(BIN)/python -m tests.simulation --count $(SEEDS)
	$(BIN)/python -m tests.simulation --shape crowd --count 100
	$(BIN)/python -m tests.simulation --shape tens_of_thousands --count 2 --start 1
	ACHILLES_STATEFUL_EXAMPLES=2000 $(BIN)/python -m pytest tests/unit/core -k any_order

differential: $(INSTALLED)  ## Compare scheduled and plain execution of random programs (COUNT=1000000)
	$(BIN)/python -m tests.differential --count $(COUNT)

soak: $(INSTALLED)  ## Kill parts of a working cluster at random and check every result (MINUTES=30)
	$(BIN)/python -m tests.soak --minutes $(MINUTES)

unsteady: $(INSTALLED)  ## Run the tests while their processes are stopped for moments, at random (TESTS="tests/unit -q")
	$(BIN)/python -m tests.soak.unsteady -- $(TESTS)

many: $(INSTALLED)  ## Draw 100 million integers lazily and check that memory stays flat
	$(BIN)/python -m tests.soak.many_ints

bench: .venv/.installed-bench  ## Measure beside other libraries (ROUNDS=5 BENCH="--only W1,W3 --peers stdlib --resume")
	$(BIN)/python -m benchmarks --rounds $(ROUNDS) $(BENCH)

bench-smoke: $(INSTALLED)  ## Measure briefly, and compare with stored ratios
	$(BIN)/python -m benchmarks --smoke

fuzz: $(INSTALLED)  ## Throw bytes at frames and the handshake (FUZZ_SECONDS=60)
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check 'atheris>=3,<4'
	PYTHONPATH=. $(BIN)/python tests/fuzz/frames.py $(FUZZ_SECONDS)

clean:  ## Remove the environment and everything built
	rm -rf .venv .venv-other-* build dist *.egg-info twisted/plugins/dropin.cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps make a second run start at once. The installation is editable, so only a change of
# the metadata calls for another one; "compat" puts this directory on the path as it is, which is
# how Twisted finds the plugin.
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --config-settings editable_mode=compat --editable

.venv/.python:
	@$(PYTHON) -c 'import sys; sys.exit("achilles needs Python 3.11 or newer; try make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv --clear .venv
	@touch $@

.venv/.installed: pyproject.toml setup.py | .venv/.python
	$(INSTALL) .
	@touch $@

$(INSTALLED): pyproject.toml setup.py | .venv/.python
	$(INSTALL) '.[test,ecosystem]'
	@touch $@ .venv/.installed

.venv/.installed-bench: pyproject.toml setup.py | .venv/.python
	$(INSTALL) '.[bench]'
	@touch $@ .venv/.installed
