PYTHON ?= python3
# Versions to run with: onedl or openmmlab; the newest that fits the Python.
ifndef STACK
STACK := $(shell $(PYTHON) tools/misc/setup_venv.py --choose 2>/dev/null)
endif
VENV ?= .venv-$(STACK)
LOSS ?= hmw
# Of the demo: efficientnet-lite0 or mobilenetv3.
BACKBONE ?= efficientnet-lite0
# Of make compare.
LOSSES ?= mse amse rmse fmse hmw anchor
SEEDS ?= 0 1 2
# Extra arguments of pytest, as in `make test ARGS="-m 'not slow'"`.
ARGS ?=

.PHONY: demo demo-full compare test coverage docs doctor lint venv clean

demo: venv
	$(VENV)/bin/python tools/misc/demo.py --loss $(LOSS) \
		--backbone $(BACKBONE)

# With a detector that finds the people, and a clip.
demo-full: venv
	$(VENV)/bin/python tools/misc/demo.py --loss $(LOSS) \
		--backbone $(BACKBONE) --full

# Which loss is best for the demo data; two trainings run at a time.
compare: venv
	$(VENV)/bin/python tools/dataset_converters/prepare_demo_data.py \
		--out data/demo
	$(VENV)/bin/python tools/compare_losses.py \
		configs/compare/td-hm_res18-dwattn_1xb16-20e_demo-128x96.py \
		--losses $(LOSSES) --seeds $(SEEDS) --jobs 2 \
		--work-dir work_dirs/compare/demo

# A process for each core, of one thread: the tests' models are so small that
# threads mostly wait for each other. At most 8, for each takes seconds to start
# and gigabytes to train the largest model.
test: venv lint
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest \
		-n logical --maxprocesses 8 --dist worksteal $(COVERAGE) $(ARGS)

# The same, and which lines of the package the tests' own processes have run.
coverage: COVERAGE = --cov --cov-report term \
	--cov-report markdown:build/coverage.md
coverage: test

# The site, in build/site; for the onedl stack on Python 3.12 or newer.
docs: venv
	$(VENV)/bin/python -m pip install -q --disable-pip-version-check \
		-c requirements/$(STACK).txt -r docs/requirements.txt
	$(VENV)/bin/python -m sphinx -q -W --keep-going -c docs . build/site
	@echo "Open $(CURDIR)/build/site/index.html"

doctor: venv
	$(VENV)/bin/python tools/misc/doctor.py

lint: venv
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

venv:
	@$(PYTHON) tools/misc/setup_venv.py $(VENV) $(if $(STACK),--stack $(STACK))

clean:
	rm -rf .venv-* build work_dirs data/demo data/pretrained *.egg-info mmpose_lossplus/.mim
