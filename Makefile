# Every target sets up what it needs. PY=python3.13 chooses another interpreter, VENV another place.

PY ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$python; break; }; done)
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
EXTRAS := arq,demo,speed

# The second run of the tests sees what a user would install today: the built wheel and the newest redis-py, laid over
# the same environment. (arq holds redis-py below 6 in the first run.)
NEWEST_REDIS ?= redis==8.1.0
OVERLAY := $(VENV)/overlay
OVERLAY_READY := $(OVERLAY)/.ready-$(NEWEST_REDIS)
OVERLAY_TESTS ?= tests/scheduler tests/nooble_tasks

ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test test-main test-installed test-servers check fix bench faults constraints clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(READY) ## run the whole system on real input for about a minute (ARGS=... for nooble demo)
	@$(BIN)/nooble demo $(ARGS)

test: test-main test-installed test-servers ## run all tests, then again as installed today and on other servers

test-main: $(READY) ## run all tests with the pinned packages (ARGS='-k name' selects)
	$(BIN)/python -m pytest -q $(ARGS)

test-installed: $(OVERLAY_READY) ## run the tests of engine and library on the built wheel and the newest redis-py
	@rm -rf $(OVERLAY)/nooble_tasks $(OVERLAY)/nooble_tasks-*
	@$(BIN)/python -m pip install -q --no-deps --no-build-isolation --target $(OVERLAY) .
	NOOBLE_TEST_OVERLAY=$(abspath $(OVERLAY)) PYTHONPATH=$(abspath $(OVERLAY)) \
		$(BIN)/pytest -q -o pythonpath= -p no:cacheprovider $(OVERLAY_TESTS) $(ARGS)

test-servers: $(READY) ## run the engine's tests on every other kind of server found here
	@for source in $$($(BIN)/python -c 'from nooble_tasks.embedded_binaries import candidates; \
		print(*(found.source for found in candidates()[1:]))'); do \
		echo "the engine on the server from $$source"; \
		NOOBLE_TEST_SERVER=$$source $(BIN)/python -m pytest -q -p no:cacheprovider tests/scheduler tests/laws $(ARGS) || exit 1; done

check: $(READY) ## lint, format, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

fix: $(READY) ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY) ## measure speed and memory (ARGS=... for the benchmarks, --help says which)
	$(BIN)/python -m benchmarks $(ARGS)

faults: $(READY) ## break servers, workers and links in full doses (hours; small doses are in make test)
	NOOBLE_TEST_FAULTS=full $(BIN)/python -m pytest -q tests/faults $(ARGS)

constraints: ## pin the newest versions that fit together; PY must be the oldest supported Python
	rm -rf $(VENV)-pins && $(PY) -m venv $(VENV)-pins
	$(VENV)-pins/bin/python -m pip install -q -U 'pip>=25.1'
	$(VENV)-pins/bin/python -m pip install -q -e '.[$(EXTRAS)]' --group dev
	{ echo '# Exact versions of the development environment, by name only. Written by: make constraints'; \
		$(VENV)-pins/bin/python -m pip freeze --exclude-editable; \
		echo 'async-timeout==5.0.1 ; python_full_version < "3.11.3"'; } > constraints.new
	mv constraints.new constraints.txt && rm -rf $(VENV)-pins

clean: ## remove the environment and everything generated
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml constraints.txt
	@if [ -z "$(PY)" ]; then \
		echo "nooble-tasks needs Python 3.11 or newer and found none on PATH." >&2; \
		echo "Next step: install one, or name it: make PY=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; fi
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "nooble-tasks needs Python 3.11 or newer; $(PY) is not." >&2; \
		echo "Next step: name a newer one: make PY=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@[ -x $(BIN)/python ] || $(PY) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PY) cannot make a virtual environment." >&2; \
		echo "Next step: install its venv module (Debian and Ubuntu: apt install python3-venv)." >&2; exit 1; }
	@echo "Setting up $(VENV) (once, about half a minute)" >&2
	@$(BIN)/python -m pip install -q -U 'pip>=25.1'
	@$(BIN)/python -m pip install -q -e '.[$(EXTRAS)]' --group dev -c constraints.txt
	@touch $@

$(OVERLAY_READY): $(READY)
	@rm -rf $(OVERLAY)
	@$(BIN)/python -m pip install -q --no-deps --target $(OVERLAY) '$(NEWEST_REDIS)'
	@touch $@
