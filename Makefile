# Two commands do all: `make demo` runs the main job, `make test` passes the tests.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
PHOTO ?= assets/eileen_collins.jpg

# A mirror of the model files beside the repository is used when it is there.
ifneq ($(wildcard ../shared/models),)
export FACE3D_MIRROR ?= $(abspath ../shared/models)
endif

.PHONY: demo test check bench install clean

demo: install
	$(BIN)/face3d models pull surrey
	$(BIN)/face3d reconstruct $(PHOTO) -o out/face.obj --render out/contact_sheet.png
	$(BIN)/face3d reconstruct $(PHOTO) -o out/face.glb

test: install
	$(BIN)/python -m pytest

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest --cov

bench: install
	$(BIN)/python -m benchmarks

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) out build dist
