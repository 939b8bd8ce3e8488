PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

FRESH := build/wheel

.PHONY: demo test test_long test_lowest lint docs wheel sbom mutation fuzz soak results accuracy effort default_model bench load clean

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q torch==2.13.0 -c constraints.txt
	$(BIN)/pip install -q -e ".[dev]" -c constraints.txt
	touch $@

demo: $(VENV)/installed
	$(BIN)/meta-text demo

test: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 -m "not long"

# Whole trainings, exported encoders, other processes, a browser: as long again. Three at once, for they often wait for one another.
test_long: $(VENV)/installed
	$(BIN)/python -m pytest -n 3 -m long

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pylint meta_text benchmarks

# The suite on the lowest versions that pyproject.toml admits, in an environment of its own; old libraries warn of newer ones.
test_lowest:
	$(PYTHON) -m venv build/lowest
	build/lowest/bin/pip install -q uv
	build/lowest/bin/uv pip install -q --python build/lowest/bin/python --resolution lowest-direct -e ".[dev]"
	build/lowest/bin/python -m pytest -n 2 -m "not long" -W default::DeprecationWarning -W default::PendingDeprecationWarning

# The site from docs/: strict, every link followed, nothing asked of another host. To read it: python -m http.server -d build/docs
docs: $(VENV)/installed
	$(BIN)/pip install -q -e ".[docs]" -c constraints.txt
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	$(BIN)/python docs/site/check.py build/docs

# What a user gets: the wheel in a fresh environment, the base alone, no network.
wheel: $(VENV)/installed
	rm -rf dist $(FRESH)
	$(BIN)/python -m hatchling build -t wheel -d dist
	$(PYTHON) -m venv $(FRESH)
	$(FRESH)/bin/pip install -q torch==2.13.0 -c constraints.txt
	$(FRESH)/bin/pip install -q dist/*.whl -c constraints.txt
	$(FRESH)/bin/python tests/wheel_smoke.py

# Everything that the base installs, with versions and licences, as CycloneDX.
sbom: wheel
	$(PYTHON) -m venv build/sbom
	build/sbom/bin/pip install -q cyclonedx-bom==7.5.0
	build/sbom/bin/cyclonedx-py environment $(FRESH) --pyproject pyproject.toml -o dist/meta_text.cdx.json

# Breaks each line of mathematics once and runs the tests; docs/reliability.md has the figures. Resumes an interrupted run.
mutation: $(VENV)/installed
	$(BIN)/pip install -q -e ".[mutation]" -c constraints.txt
	$(BIN)/python benchmarks/mutation/run.py

# Random bytes and changed settings into everything that reads a file: five minutes for each of five kinds.
fuzz: $(VENV)/installed
	$(BIN)/pip install -q -e ".[fuzz]" -c constraints.txt
	for kind in table recipe settings split classifier; do $(BIN)/python benchmarks/fuzz/loaders.py $$kind --minutes 5 || exit 1; done

# Twenty minutes on two quiet cores: kills a training run sixty times and compares what it ends with, asks more of the service than it can
# answer, trains in two processes, and kills workers and runs of Ray.
soak: $(VENV)/installed
	$(BIN)/python benchmarks/soak/kills.py --kills 60
	$(BIN)/python benchmarks/service/load.py --minutes 10
	$(BIN)/python -m pytest -m "long or not long" tests/test_several_processes.py tests/test_ray_engine.py

# About five hours on two cores; needs META_TEXT_DATA.
results: $(VENV)/installed
	for corpus in banking77 clinc150; do for split in 1 2 3 4 5; do \
		$(BIN)/meta-text compare recipes/$$corpus.toml --set corpus.split=$$split --json runs/$$corpus-$$split.json || exit 1; \
	done; $(BIN)/python benchmarks/accuracy/results.py runs/$$corpus-*.json; done
	for corpus in banking77_trained clinc150_trained; do for split in 1 2 3 4 5; do \
		$(BIN)/meta-text compare recipes/$$corpus.toml --learners protonet,proto_maml,meta_lstm --set corpus.split=$$split --json runs/$$corpus-$$split.json || exit 1; \
	done; $(BIN)/python benchmarks/accuracy/results.py runs/$$corpus-*.json; done
	for split in 1 2 3 4 5; do \
		$(BIN)/python benchmarks/accuracy/ablation.py recipes/banking77.toml --set corpus.split=$$split --json runs/ablation-$$split.json || exit 1; \
	done; $(BIN)/python benchmarks/accuracy/results.py runs/ablation-*.json
	for corpus in csldcp arsc; do \
		$(BIN)/meta-text compare recipes/$$corpus.toml --json runs/$$corpus-1.json || exit 1; \
		$(BIN)/python benchmarks/accuracy/results.py runs/$$corpus-1.json; done

# The default beside logistic regression on twelve corpora: about two hours on two cores; needs META_TEXT_DATA.
accuracy: $(VENV)/installed
	rm -f runs/development.jsonl
	$(BIN)/python benchmarks/accuracy/development.py meta_text/default_model --before tests/golden_default
	$(BIN)/python benchmarks/accuracy/development_table.py runs/development.jsonl --figure recipes/figures/development.png

# fit(..., effort="high") against the same default without it: about an hour for each draw on one core; needs META_TEXT_DATA.
effort: $(VENV)/installed
	$(BIN)/python benchmarks/accuracy/effort.py

# The model that the package ships, made again; needs META_TEXT_DATA.
default_model: $(VENV)/installed
	$(BIN)/meta-text train recipes/default.toml --out runs/default
	rm -rf meta_text/default_model
	cp -r runs/default/model meta_text/default_model
	$(BIN)/python -c 'from meta_text.saving.card import write_card; from meta_text.saving.loading import DEFAULT; from meta_text.saving.model_folder import load_model; write_card(load_model(DEFAULT), DEFAULT, repo_id="default")'

# Under 30 minutes on two quiet cores; needs META_TEXT_DATA. Rewrites benchmarks/speed/RESULTS.md and its figures.
bench: $(VENV)/installed
	$(BIN)/python benchmarks/speed/run.py

# `meta-text serve` under load: about fifteen minutes.
load: $(VENV)/installed
	$(BIN)/python benchmarks/service/load.py --minutes 10

clean:
	rm -rf $(VENV) build dist benchmarks/speed/work .pytest_cache .mypy_cache .ruff_cache
