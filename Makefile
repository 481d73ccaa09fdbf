# make install   what the other targets need, into .venv, once
# make demo   the whole pipeline on a small simulated dataset, in under two minutes
# make test   the tests, in two parts: all but the very slow, then the very slow
# make check  formatting, lint, types, the tests and the site, as CI runs them
# make types  the type hints of the rooms that are hinted in full
# make exhaustive   tests that repeat others at random or in large numbers, before a release
# make quick  the tests that are not marked as slow, in under a minute
# make coverage   which lines and branches of the package does no test reach?
# make docs   the site, into build/docs           make pictures   the pictures that its pages show, drawn anew
# make wheel-check   the wheel installed in an empty environment, and the demo run from it; takes minutes, needs the network
# make mutants   mistakes made on purpose in some modules: which ones does no test notice? Hours; some of them with
#                MUTANTS='*.nsd.*'
# make faults   hundreds of runs killed everywhere: is nothing lost?
# make attack   kills, swapped files and hostile input on a small study, some flags with ATTACK='--seed 2': an hour or more
# make fuzz   every reader of files on FUZZ_INPUTS damaged ones, 20,000 of each kind unless said otherwise
PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
INSTALLED := $(VENV)/.installed
VERY_SLOW = $(shell grep --recursive --files-with-matches --include='test_*.py' mark.very_slow tests)
PYTEST := OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

# pip compiles nothing: each module is compiled at its first import, which this variable would undo at every start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install demo test quick exhaustive check types coverage docs pictures wheel-check mutants fuzz faults attack format clean
install: $(INSTALLED)

demo: $(INSTALLED)
	$(VENV)/bin/python -m brain_activity_prediction.demo

test: $(INSTALLED)
	$(PYTEST) -m "not very_slow and not exhaustive"
	$(PYTEST) -m "very_slow and not exhaustive" $(VERY_SLOW)

quick: $(INSTALLED)
	$(PYTEST) -m "not slow and not very_slow and not exhaustive"

exhaustive: $(INSTALLED)
	$(PYTEST) -m exhaustive

check: $(INSTALLED)
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(MAKE) --jobs=2 --output-sync types docs
	$(MAKE) test

types: $(INSTALLED)
	$(VENV)/bin/python -m mypy

coverage: $(INSTALLED)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m coverage run -m pytest -n auto --dist loadfile --no-loadscope-reorder
	$(VENV)/bin/python -m coverage combine --quiet
	$(VENV)/bin/python -m coverage report --show-missing --skip-covered

docs: $(INSTALLED)
	$(VENV)/bin/python -m sphinx --quiet --fail-on-warning --keep-going --builder html docs build/docs

pictures: demo
	$(VENV)/bin/python docs/tutorial.py
	mv tutorial_*.png docs/pictures
	$(VENV)/bin/python docs/ridge_figure.py
	$(VENV)/bin/python docs/macaque_figure.py
	cp demo_data/alignment/subj01/prompt_1/simulated_llava-1.5-13b-hf/layers.png docs/demo_layers.png

wheel-check:
	rm -rf build/wheel build/lib  # setuptools would put what lies there into the wheel
	$(PYTHON) -m venv build/wheel/empty
	build/wheel/empty/bin/python -m pip --disable-pip-version-check wheel --quiet --no-deps --wheel-dir build/wheel .
	build/wheel/empty/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt build/wheel/*.whl
	cd build/wheel && empty/bin/bap demo

mutants: $(INSTALLED)
	$(PIP) install --quiet mutmut==3.8.1
	PYTHONPATH= OMP_NUM_THREADS=1 $(VENV)/bin/mutmut run $(MUTANTS:%='%')
	$(VENV)/bin/mutmut results | sed '/not checked/d'

fuzz: $(INSTALLED)
	FUZZ_INPUTS=$${FUZZ_INPUTS:-20000} $(VENV)/bin/python -m pytest -n auto tests/robustness/test_fuzzed_files.py

faults: $(INSTALLED)
	OMP_NUM_THREADS=1 $(VENV)/bin/python tests/robustness/fault_injection.py

attack: $(INSTALLED)
	OMP_NUM_THREADS=1 $(VENV)/bin/python tests/robustness/attack.py $(ATTACK)

format: $(INSTALLED)
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

# open_flamingo's own requirements pin a torch of 2023; its real needs are the extra [flamingo].
$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed: add PYTHON=python3.12")'
	@echo 'Installing into $(VENV), once: 2 to 6 GB, minutes in which pip says nothing'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --no-compile --constraint constraints.txt --editable ".[test,docs,flamingo]"
	$(PIP) install --quiet --no-compile --no-deps open_flamingo==2.0.1
	touch $@

clean:
	rm -rf $(VENV) demo_data build dist docs/generated mutants *.egg-info
