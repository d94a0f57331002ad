# Everything happens in .venv/; `make help` lists the targets.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
PINS := binder/requirements.txt

.PHONY: help env demo test test-fast fuzz check bench bench-quick docs docs-serve lab pictures pins jars clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13

env: $(READY) ## make .venv/ with the package and its tools

$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $(READY)

demo: env ## the main job on a real local Cassandra: 336,776 flights become features
	$(BIN)/feastra demo

test: env ## all tests, two at a time, each on a real local Cassandra
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-fast: env ## the tests that need neither a node nor a browser: under a minute
	$(BIN)/python -m pytest -m "not cassandra and not slow" -n 2 --dist loadfile

fuzz: env ## two thousand made-up frames through a real local Cassandra: exact on both sides, or refused
	FEASTRA_FUZZ=2000 $(BIN)/python -m pytest tests/test_fuzz.py

check: env ## lint, types, and that imports go down the house
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: env ## all benchmarks, beside Feast's own stores; they assert nothing about time
	$(BIN)/python -m benchmarks.run

bench-quick: env ## the same in three to four minutes: fewer entities, fewer rounds
	$(BIN)/python -m benchmarks.run --size quick

docs: env ## build the documentation site into site/; a warning is an error
	$(BIN)/mkdocs build --strict

docs-serve: env ## show the site on http://127.0.0.1:8000, built anew whenever a page changes
	$(BIN)/mkdocs serve --dev-addr 127.0.0.1:8000

lab: env ## JupyterLab on the notebooks
	$(BIN)/jupyter lab notebooks/quickstart.ipynb

pictures: env ## make the documentation's pictures anew, by its tests; look at them before they are committed
	FEASTRA_PICTURES=docs/images $(BIN)/python -m pytest tests/test_jupyterlab.py tests/test_materialize.py

pins: env ## pin what Binder installs to the versions in .venv/, where all tests have passed (Python 3.11)
	$(BIN)/python -m pip list --format=freeze --exclude-editable >$(PINS)
	CUSTOM_COMPILE_COMMAND='make pins' $(BIN)/pip-compile --quiet --extra=notebooks --no-strip-extras --allow-unsafe \
	  --annotation-style=line --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --output-file=$(PINS)

jars: env ## pin Cassandra's jars by SHA-256 (jars.lock): resolves and downloads all of them anew; read the difference
	$(BIN)/python -m feastra_nb.connection.local.pinning

clean: ## remove .venv/ and what tools left behind
	rm -rf .venv dist build site .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
