# make demo   the whole pipeline on a small simulated dataset, in under two minutes
# make test   the tests          make check   formatting, lint and the tests, as CI runs them
PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
INSTALLED := $(VENV)/.installed

.PHONY: demo test check format clean
demo: $(INSTALLED)
	$(VENV)/bin/python -m brain_activity_prediction.demo

test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n auto --dist loadfile

check: $(INSTALLED)
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(MAKE) test

format: $(INSTALLED)
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

# open_flamingo's own requirements pin a torch of 2023; its real needs are the extra [flamingo].
$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt --editable ".[test,flamingo]"
	$(PIP) install --quiet --no-deps open_flamingo==2.0.1
	touch $@

clean:
	rm -rf $(VENV) demo_data build dist *.egg-info
