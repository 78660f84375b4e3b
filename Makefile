PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
JOBS ?= 2

.PHONY: train test lint subjects bench clean

train: $(VENV)/train.stamp  ## train on handwritten digits; results in runs/digits
	$(BIN)/tilegrad train --out runs/digits

test: $(VENV)/dev.stamp  ## the whole test suite
	$(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal

lint: $(VENV)/dev.stamp  ## ruff, mypy and the layer check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=.dev $(BIN)/lint-imports

subjects:  ## whether the subjects of this branch's commits are as CONTRIBUTING.md asks
	.ci/subjects

bench: $(VENV)/dev.stamp  ## every row of bench/ by pytest-benchmark; `python -m bench` prints the table
	$(BIN)/python -m pytest -q bench --benchmark-enable --benchmark-only --benchmark-group-by=group \
		--benchmark-max-time=0.2 --benchmark-min-rounds=3 --benchmark-columns=min,median,iqr,rounds

$(VENV)/train.stamp: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -e '.[train]'
	touch $@

$(VENV)/dev.stamp: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info runs
