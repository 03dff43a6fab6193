# Two commands are all a newcomer needs: `make train` and `make test`. Both set up .venv on their first run.
PYTHON ?= python3
BIN := .venv/bin
SPEC ?= specs/digits/lenet.yaml
DATA ?= data

.PHONY: train test test-slow receipts mutations test-ray smoke extras check format docs bench results clean

.venv/installed: pyproject.toml constraints.txt tests/kinds/pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("dlx needs Python 3.11 or later, and this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps -e tests/kinds
	@touch $@

train: .venv/installed        ## train a LeNet on real digits (another spec: make train SPEC=...)
	$(BIN)/dlx train $(SPEC)

# hundreds of tests start processes of their own, which would compile dlx anew where PYTHONDONTWRITEBYTECODE is set
test: export PYTHONDONTWRITEBYTECODE =
# a worker more than cores: many tests wait for processes of their own
test: WORKERS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')
test: .venv/installed         ## all tests but the slow ones
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-slow: .venv/installed    ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

.venv/ray: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[ray]'
	@touch $@

receipts: .venv/installed     ## whether every receipt of the shipped specs fails once its spec is changed
	$(BIN)/python -m pytest -m 'slow or not slow' tests/claims/test_receipts_can_fail.py

mutations: .venv/installed    ## 5,000 random mistakes in specs: which are accepted, where the others are told
	PYTHONPATH=tests $(BIN)/python tests/mutations.py $(MUTATIONS)

test-ray: .venv/ray           ## sweeps on a Ray cluster of two nodes, started here
	$(BIN)/python -m pytest -m 'slow or not slow' tests/sweeps/test_ray.py

smoke: .venv/installed        ## the wheel in an empty environment, outside the clone
	$(BIN)/python tests/smoke.py

extras: .venv/installed       ## everything that is optional, as continuous integration has it
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,ray,bench,umap]'
	@touch .venv/ray

check: .venv/installed        ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/installed         ## write docs/layers.md anew from the classes
	$(BIN)/dlx layers --markdown > docs/layers.md

bench: .venv/installed        ## the benchmarks, with the peers they compare with
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python benchmarks/run.py

WANTED := $(addprefix $(DATA)/,t10k-images-idx3-ubyte.gz t10k-labels-idx1-ubyte.gz cifar10-train.parquet cifar10-test.parquet)

results: $(WANTED) .venv/installed    ## train what claims something of its training, for hours; DATA has MNIST's test files and CIFAR-10
	$(BIN)/python benchmarks/training.py $(DATA)
	$(BIN)/python benchmarks/ladder.py $(DATA)

$(WANTED):
	@echo "There is no $@. Name the folder that has $(notdir $(WANTED)): make results DATA=FOLDER" >&2; exit 2

clean:
	rm -rf .venv build dist *.egg-info
