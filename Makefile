# `make` lists the targets. Everything that a run writes goes below .local/.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
LOCAL  := $(CURDIR)/.local

# The environment is installed again when one of these changes, and only then.
STAMP  := $(VENV)/.installed-$(shell cat pyproject.toml emulator/pyproject.toml constraints.txt | cksum | cut -d ' ' -f 1)

# A user's own Prefect profile, server and caches are neither read nor written.
unexport PREFECT_API_URL PREFECT_API_KEY PREFECT_PROFILE PREFECT_PROFILES_PATH VIRTUAL_ENV
export PREFECT_HOME := $(LOCAL)/prefect
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS := 120
export AZUREML_EMULATOR_STATE ?= $(LOCAL)/emulator
export HF_HOME := $(LOCAL)/huggingface
export MPLCONFIGDIR := $(LOCAL)/matplotlib
export RUFF_CACHE_DIR := $(LOCAL)/ruff
export HYPOTHESIS_STORAGE_DIRECTORY := $(LOCAL)/hypothesis
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := 1

.DEFAULT_GOAL := help
.PHONY: help install run up sweep test test-all test-browser bench chaos lint format clean

help: ## List the targets.
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  PYTHON=python3.12     makes the environment with another Python."
	@echo "  TORCH_INDEX=URL       takes torch from another index, for example one of CPU builds."

install: $(STAMP) ## Set up .venv; does nothing when it is up to date.
	@echo "$(VENV) is up to date."

run: $(STAMP) ## Fine-tune, deploy, ask and tear down, all on this machine.
	$(BIN)/azureml-emulator exec -- $(BIN)/python -m flows.finetune --config deployments/local.yaml $(ARGS)

up: $(STAMP) ## Prefect's UI, a worker and the local Azure ML, until Ctrl-C.
	@$(BIN)/python -m deployments.up

sweep: $(STAMP) ## Show what no living run owns (a dry run); ARGS=--apply ends it.
	$(BIN)/azureml-emulator exec -- $(BIN)/python -m flows.sweep $(ARGS)

# Each part in processes of its own: an emulator's environment and tokens stay with its tests.
TEST_PARTS := "tests/emulator" "tests/blocks tests/tasks tests/flows" "tests/deployments tests/resilience"

test: $(STAMP) ## Run the tests; ARGS='tests/tasks -k plan' runs some of them.
	@failed=0; \
	for part in $(if $(ARGS),'$(ARGS)',$(TEST_PARTS)); do \
	  $(BIN)/python -m pytest --numprocesses 3 --dist loadfile $$part || failed=1; \
	done; exit $$failed

test-all: export EXHAUSTIVE := 1
test-all: test ## The tests, with every request and write of a run and every fault.

test-browser: $(STAMP) ## Use Prefect's UI in Chromium; pictures of it go to .local/screenshots.
	$(BIN)/python -m pytest tests/browser $(ARGS)

.PHONY: verify-azure conformance azurite
verify-azure: $(STAMP) ## The contract tests against your own workspace: plan, question, tests, removal.
	VERIFY_AZURE=1 $(BIN)/python -m pytest tests/contract -p no:xdist $(ARGS)

conformance: $(STAMP) ## Write docs/conformance.md from the tests and the emulator's operations.
	$(BIN)/python -m tests.contract.page

azurite: ## Fetch Azurite (npm), which tests/emulator/test_azurite.py compares the blob store with.
	npm install --no-save --prefix $(LOCAL)/azurite azurite@3.35.0

bench: $(STAMP) ## Measure speed and growth, half an hour in all; ARGS='data_path trainer'.
	$(BIN)/python -m benchmarks $(ARGS)

chaos: $(STAMP) ## Kill runs at random, start them again, and count; ARGS='--rounds 20'.
	$(BIN)/python -m benchmarks.chaos $(ARGS)

lint: $(STAMP) ## Check style, formatting and types; change nothing.
	@failed=0; \
	for check in 'ruff check .' 'ruff format --check .' 'mypy'; do \
	  echo "$$check"; $(BIN)/$$check || failed=1; \
	done; exit $$failed

format: $(STAMP) ## Format the code and fix what can be fixed.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## Remove .venv, .local and every cache.
	rm -rf $(VENV) .local build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP):
	@command -v $(PYTHON) >/dev/null || { \
	  echo "$(PYTHON) is not on this machine. Install Python 3.11 or newer, then run make again." >&2; \
	  exit 1; }
	@$(PYTHON) deployments/preflight.py
	@echo "Setting up $(VENV): some minutes the first time."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@rm -f $(VENV)/.installed-*
	@# torch first and alone: its index, if one is named, serves torch and nothing else.
	@$(BIN)/python -m pip install -c constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch \
	  || { echo "torch could not be installed: the reason is above. Run make again." >&2; exit 1; }
	@# An earlier version of the flows brought the emulator's command itself and would take it along.
	@$(BIN)/python -m pip uninstall --quiet --yes azureml-finetune-flow 2>/dev/null
	@$(BIN)/python -m pip install -c constraints.txt -e './emulator[training]' -e '.[local,dev]' \
	  || { echo "The packages could not be installed: the reason is above. Run make again." >&2; exit 1; }
	@touch $@
