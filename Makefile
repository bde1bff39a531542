# make demo   the whole job on embedded speech with embedded models
# make test   style, types, layers and all tests but the longest
# make test-long  the longest tests: a notebook, a benchmark, nodes that come and go, tuning
# make check  style, types and layers alone
# make test-faults  50 kills of a job on two nodes: no id lost, none twice; 200 of `compact`
# make test-store  2,000 rows on an S3 store that fails: pack, transcribe, go on (5 minutes)
# make test-hostile  10,000 hostile recordings and one of 15 hours, a row each
# make fuzz MINUTES=15  coverage-guided fuzzing of the decoding of recordings
# make test-drift  a million rows and 5,000 model calls: what grows (30 minutes)
# make style  put the code into its one style

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Most tests wait for processes to start and to end; more than two would want each other's cores.
TEST_PROCESSES ?= 2
# A file's tests stay together, so that what they share is made once. Long ones come first, as they
# are collected; xdist would begin with the files that have the most tests.
PYTEST = $(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder
# Made again when what is installed changes; otherwise a second `make` reuses what is there.
INSTALLED := $(VENV)/.installed

.PHONY: demo test test-long test-faults test-store test-hostile test-drift fuzz check style install

demo: $(INSTALLED)
	$(BIN)/ray-asr demo --output demo-output

test: check
	$(PYTEST) -m "not long"

test-long: $(INSTALLED)
	$(PYTEST) -m long

test-faults: $(INSTALLED)
	$(BIN)/python -m tests.faults.kills --kills 50
	RAY_ASR_KILLS=200 $(BIN)/python -m pytest --timeout 3600 tests/unit/test_exchange.py

test-store: $(INSTALLED)
	$(BIN)/python -m tests.faults.store --rows 2000

test-hostile: $(INSTALLED)
	$(BIN)/python -m tests.faults.hostile_run --count 10000 --hours 15

test-drift: $(INSTALLED)
	$(BIN)/python benchmarks/drift.py rows --rows 1000000
	$(BIN)/python benchmarks/drift.py calls --calls 5000

MINUTES ?= 15
fuzz: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[fuzz]' -c constraints.txt
	$(BIN)/python -m tests.faults.fuzz_audio --minutes $(MINUTES)

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

style: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	# torch first and alone: a looser request would bring gigabytes of another build.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch -c constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	touch $@
