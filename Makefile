# Each target sets up .venv by itself; Python 3.11+ is all a machine needs.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test lint bench chaos clean

.venv/.ready: pyproject.toml constraints.txt packages/tenant-certificate-verify/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	@echo "Setting up .venv (once, about a minute) ..."
	@$(INSTALL) hatchling editables
	@$(INSTALL) --no-build-isolation -e '.[sandbox,dev]' -e 'packages/tenant-certificate-verify[timestamp]'
	@touch $@

demo: .venv/.ready
	$(BIN)/tenantctl demo

test: .venv/.ready
	$(BIN)/python -m pytest -n 2 -m "not chaos"

lint: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy packages/tenant-certificate-verify/src
	$(BIN)/lint-imports

bench: .venv/.ready
	$(BIN)/python -m bench all

chaos: .venv/.ready
	$(BIN)/python -m pytest -m chaos -p no:randomly tests

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
