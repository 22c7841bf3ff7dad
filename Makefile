# One command for each habit. Everything is set up on first use: uv where it is missing, then
# the locked packages into .venv. CI runs these same targets.
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
UV      = $$(sh scripts/find-uv)
ARGS   ?=
JOBS   ?= auto

.PHONY: help setup demo test bench torture lint fmt docs lock clean
help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

setup: $(STAMP) ## install the locked packages into .venv

$(STAMP): requirements.lock pyproject.toml scripts/find-uv
	uv=$(UV) && { test -x $(BIN)/python || $$uv venv --quiet $(VENV); } \
	  && $$uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock \
	  && $$uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

demo: setup ## the platform, simulated channels and a shop; ARGS=--once tells the story unattended
	$(BIN)/qiao demo $(ARGS)

test: setup ## the whole test suite, files in parallel
	@sh scripts/bring-programs
	$(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

bench: setup ## Qiao beside its floors; ARGS=--quick for a shorter run
	$(BIN)/python -m bench $(ARGS)

torture: setup ## hours of faults: simulated lives, killed processes, database failovers
	QIAO_TEST_SEEDS=10000 $(BIN)/pytest -n $(JOBS) --dist load tests/simulation $(ARGS)
	QIAO_TEST_OUTAGE_PAYMENTS=5000 $(BIN)/pytest tests/engine/test_outage.py $(ARGS)
	QIAO_TEST_KILLS=1000 $(BIN)/pytest tests/crash/test_kill.py -s $(ARGS)
	QIAO_TEST_POINTS_EVERY=1 QIAO_TEST_ARCHIVE_KILLS_EVERY=1 QIAO_TEST_FROZEN_SECONDS=75 \
	  $(BIN)/pytest tests/crash/test_points.py tests/crash/test_archive_killed.py \
	  tests/crash/test_faults.py tests/disaster/test_partition.py tests/disaster/test_disk_full.py -s $(ARGS)
	QIAO_TEST_SOAK=1000000 $(BIN)/pytest tests/crash/test_soak.py -s $(ARGS)
	QIAO_TEST_FAILOVERS=20 $(BIN)/pytest tests/disaster/test_failover.py -s $(ARGS)

lint: setup ## format check, lint, strict types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: setup ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup ## the documentation as a site, into site/
	$(BIN)/mkdocs build --strict --quiet

COMPILE := pip compile --quiet --universal --generate-hashes --python-version 3.11 \
	  --no-emit-index-url --custom-compile-command 'make lock'

lock: ## resolve the newest versions that pyproject.toml admits into requirements.lock
	uv=$(UV) && $$uv $(COMPILE) --group dev --output-file requirements.lock pyproject.toml $(ARGS) \
	  && for file in tests/interop/environments/*.in; do \
	    $$uv $(COMPILE) --output-file "$${file%.in}.txt" "$$file" $(ARGS) || exit 1; done

clean: ## remove what setup and the tools made
	rm -rf $(VENV) .bootstrap .sdk .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist site
