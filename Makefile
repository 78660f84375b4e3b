PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
JOBS ?= 2

.PHONY: train test lint subjects bench report docs wheel clean

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

bench: $(VENV)/dev.stamp  ## every row of bench/ by pytest-benchmark; `tilegrad bench` makes the report
	$(BIN)/python -m pytest -q bench --benchmark-enable --benchmark-only --benchmark-group-by=group \
		--benchmark-max-time=0.2 --benchmark-min-rounds=3 --benchmark-columns=min,median,iqr,rounds

report: $(VENV)/dev.stamp  ## docs/report.html and the README's picture, measured on this machine
	rm -rf runs/report
	$(BIN)/tilegrad bench --out runs/report --gpu-results bench/results/gpu-h200.json
	$(BIN)/tilegrad bench report runs/report --gpu-results bench/results/gpu-h200.json \
		--out docs/report.html --picture docs/speedup.svg
	cp runs/report/results.json bench/results/report.json

docs: $(VENV)/dev.stamp  ## the documentation as a site, in runs/site
	PYTHONPATH=.dev $(BIN)/python docs/site/build.py

wheel: $(VENV)/dev.stamp  ## source archive and wheel in dist, with the standing kernels
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*

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
