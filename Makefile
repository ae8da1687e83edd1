# The only doors: demo, test, fix, check, bench, docs. Each makes .venv with pip when it is missing or stale.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.made-from-$(shell cat pyproject.toml constraints.txt | sha256sum | cut -c1-16)
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test fix check bench docs venv clean

demo: venv
	$(BIN)/flawsmith demo --out demo --overwrite

test: venv
	$(BIN)/pytest --cov --cov-report=term:skip-covered

fix: venv
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

# Hours on two cores; each is resumable or short. The README's tables come from their results.
bench: venv
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/margin.py
	$(BIN)/python benchmarks/manifest_million.py
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/quality.py --data $(or $(FLAWSMITH_TEST_DATA),../shared/data)
	$(BIN)/python benchmarks/render/speed.py
	$(BIN)/python benchmarks/render/relief.py
	$(BIN)/python benchmarks/render/against_bpy.py
	$(BIN)/python benchmarks/render/noise.py
	$(BIN)/python benchmarks/render/labels.py --count 1000
	$(BIN)/python benchmarks/table.py

docs: venv
	$(BIN)/python docs/make.py

venv: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || (echo "flawsmith needs Python 3.11 or newer: make PYTHON=python3.11" && exit 3)
	rm -f $(VENV)/.made-from-*
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) demo .pytest_cache .ruff_cache .hypothesis
