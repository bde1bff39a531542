# make demo   the whole job on embedded speech with embedded models
# make test   style, types, layers and all tests
# make check  style, types and layers alone
# make style  put the code into its one style

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Made again when what is installed changes; otherwise a second `make` reuses what is there.
INSTALLED := $(VENV)/.installed

.PHONY: demo test check style install

demo: $(INSTALLED)
	$(BIN)/ray-asr demo

test: check
	$(BIN)/python -m pytest

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
