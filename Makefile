# make demo    a small Thai data set from a local model: no key, no model hub, no torch
# make test    all that has to pass: style, types, structure, tests
# make check   style, types and structure alone
# make docs    the documentation site, in site/; a link or name that leads nowhere stops it
#
# Each builds the environment that it needs, in the versions of constraints.txt.
# PYTHON=python3.12       another interpreter (3.11 or newer, with venv)
# TORCH_INDEX=https://…   a package index with CPU builds of torch, which spare `make test` some GB of CUDA libraries

SHELL := /bin/sh
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	$$p -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
TORCH_INDEX ?=

export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_BUILD_CONSTRAINT := $(PIP_CONSTRAINT)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# A wheel for any processor of this kind, not for this machine's alone.
export HNSWLIB_NO_NATIVE := 1

.PHONY: help demo test check docs compiler browser

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

demo: .venv-demo/.stamp
	.venv-demo/bin/seedfree demo --out runs/demo

# A file's tests share what they start (servers, models), so each file goes to one process.
test: check docs browser
	.venv/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile

check: .venv/.stamp
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/python -m pytest -q tests/test_structure.py

docs: .venv/.stamp
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build -q

.venv-demo/.stamp: pyproject.toml constraints.txt
	@$(call new-venv,.venv-demo)
	.venv-demo/bin/python -m pip install -q -e '.[demo]'
	@touch $@

# torch comes first and alone, so that no package chooses its build.
.venv/.stamp: pyproject.toml constraints.txt | compiler
	@$(call new-venv,.venv)
	.venv/bin/python -m pip install -q $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch
	.venv/bin/python -m pip install -q -e '.[dev]'
	@touch $@

define new-venv
python='$(PYTHON)'; \
if [ -z "$$python" ]; then \
	echo 'No Python 3.11 or newer with venv was found. Install one (Debian: apt-get install python3-venv) or set PYTHON.' >&2; \
	exit 1; \
fi; \
echo "Building $(1) with $$python; the first time takes minutes"; \
"$$python" -m venv $(1)
endef

# hnswlib comes as source.
compiler:
	@command -v c++ >/dev/null && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -q && apt-get install -qy g++; \
	else \
		echo 'hnswlib needs a C++ compiler. Install one (Debian: sudo apt-get install g++; macOS: xcode-select --install).' >&2; \
		exit 1; \
	fi

# Some tests drive a browser; where there is none they are skipped.
browser:
	@command -v chromedriver >/dev/null && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -q && apt-get install -qy --no-install-recommends chromium chromium-driver && exit 0; \
	fi; \
	echo 'Tests in a browser are skipped: they need Chromium and its driver (Debian: sudo apt-get install chromium chromium-driver).' >&2
