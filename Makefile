# One command for each habit. Everything is set up on first use: uv where it is missing, then
# the locked packages into .venv. CI runs these same targets.
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
UV      = $$(sh scripts/find-uv)
ARGS   ?=
JOBS   ?= auto

.PHONY: help setup demo test torture lint fmt lock clean
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
	@sh scripts/bring-chromium
	$(BIN)/pytest -n $(JOBS) --dist loadfile $(ARGS)

torture: setup ## the database's primary dies twenty times under load; shows how long each took
	QIAO_TEST_FAILOVERS=20 $(BIN)/pytest tests/disaster/test_failover.py -s $(ARGS)

lint: setup ## format check, lint, strict types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: setup ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: ## resolve the newest versions that pyproject.toml admits into requirements.lock
	uv=$(UV) && $$uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
	  --no-emit-index-url --group dev --custom-compile-command 'make lock' \
	  --output-file requirements.lock pyproject.toml $(ARGS)

clean: ## remove what setup and the tools made
	rm -rf $(VENV) .bootstrap .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist site
