# `make help` lists the targets. Everything runs in .venv, which is made on first use.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Tests at once. More than a few would only take cores from the clusters that the tests start.
TESTS_AT_ONCE ?= $(shell $(PYTHON) -c 'import os; print(min(os.cpu_count() or 1, 4))' 2>/dev/null || echo 1)
SHELL := /bin/bash

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types sim fuzz teeth compare survive chaos survival bench giants bench-peers fidelity scaling clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The stamp names the interpreter, so that another PYTHON= rebuilds the environment.
STAMP := $(VENV)/.ready-$(shell $(PYTHON) -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null || echo missing)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "lbnet needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=/path/to/python3"; exit 2; }
	@echo "setting up $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	@touch $@

setup: $(STAMP) ## make .venv with lbnet and its development tools

demo: setup ## count tree T1 on a real controller and two workers
	@$(BIN)/lbnet demo

test: setup ## run the tests
	@$(BIN)/python -m pytest --numprocesses $(TESTS_AT_ONCE) --dist worksteal

lint: setup ## check style with ruff
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: setup ## check types with mypy, strict
	@$(BIN)/mypy

$(VENV)/.bench: $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group bench
	@touch $@

bench: $(VENV)/.bench ## measure efficiency: strategies x workers x workloads, CSV and plot
	@$(BIN)/python -m bench.experiments.efficiency

SEEDS ?= 1000
# SECONDS is the shell's own; it is ours if it is said.
fuzz: SECONDS ?= 60

sim: setup ## random faults on a simulated cluster, SEEDS=1000 runs in each of two modes: nothing may be lost
	@$(BIN)/python -m bench.faults --seeds $(SEEDS)

fuzz: setup ## feed all that reads bytes of others with wrong ones, and attack open ports, for SECONDS=60
	@$(BIN)/python -m bench.fuzz --seconds $(SECONDS)

teeth: setup ## plant bugs in the simulated cluster, and see how soon each of them is caught
	@$(BIN)/python -m bench.faults --teeth --seeds 200

compare: setup ## compare all strategies in the simulator, 16 to 1,024 workers
	@$(BIN)/lbnet simulate --strategy sb,rp,arr,grr,shared,lifeline,pmap --workers 16,64,256,1024 --workload uts:T1 --seed 7

survive: setup ## kill a controller and a worker with 100,000 tasks, start them again, and count the results
	@$(BIN)/python scripts/survive.py

chaos: setup ## kill, stop and cut off real processes for a minute, and check every result (links as root)
	@$(BIN)/python -m bench.chaos

survival: $(VENV)/.bench ## measure what the journal costs, and how soon things go on after a kill -9
	@$(BIN)/python -m bench.experiments.survival

giants: $(VENV)/.bench ## measure what long tasks among short ones cost, and draw how tails of batches are taken back
	@$(BIN)/python -m bench.experiments.giants

bench-peers: setup ## compare with what a user would pick instead; installs each in .venv-peers; takes an hour
	@$(BIN)/python -m bench.experiments.peers

fidelity: $(VENV)/.bench ## compare the simulator with a real cluster of this machine
	@$(BIN)/python -m bench.experiments.fidelity

scaling: $(VENV)/.bench ## work that holds efficiency at 0.8, up to 4,096 simulated workers; takes an hour
	@$(BIN)/python -m bench.experiments.isoefficiency

clean: ## remove what the other targets made
	rm -rf $(VENV) .venv-peers .mypy_cache .ruff_cache .pytest_cache build dist
