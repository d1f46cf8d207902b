PYTHON ?= python3
# Versions to run with: oldest, default or newest.
STACK ?= default
VENV ?= .venv$(patsubst %,-%,$(filter-out default,$(STACK)))
LOSS ?= hmw
# Extra arguments of pytest, as in `make test ARGS="-m 'not slow'"`.
ARGS ?=

.PHONY: demo demo-full test doctor lint venv clean

demo: venv
	$(VENV)/bin/python tools/misc/demo.py --loss $(LOSS)

# With a detector that finds the people, and a clip.
demo-full: venv
	$(VENV)/bin/python tools/misc/demo.py --loss $(LOSS) --full

# The tests' models are so small that threads mostly wait for each other, and on
# a busy machine for seconds.
test: venv lint
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest $(ARGS)

doctor: venv
	$(VENV)/bin/python tools/misc/doctor.py

lint: venv
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

venv:
	@$(PYTHON) tools/misc/setup_venv.py $(VENV) --stack $(STACK)

clean:
	rm -rf $(VENV) build work_dirs data/demo *.egg-info mmpose_lossplus/.mim
