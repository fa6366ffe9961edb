# Everything a newcomer needs: `make help`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
ROOMS  := $(patsubst %/__init__.py,%,$(wildcard */__init__.py))
# What is installed from a wheel is compiled then; a checkout is each time it starts, where writing
# byte code is switched off. It is half a second of the orchestrator's start.
COMPILE = $(BIN)/python -m compileall -q $(ROOMS)

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-pad demo-relay capture lab opendaylight openstack openstack-vm compose-lab compose-down test conformance check audit-dependencies format bench bench-schedule bench-circuits bench-lcm bench-pages chaos-circuits chaos-deployments fig2 screenshots clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: $(STAMP) ## make the virtual environment

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	$(COMPILE)
	touch $@

demo: $(STAMP) ## run the main job on a laptop lab of the paper's four nodes (CONTROLLER=opendaylight: a real one)
	$(BIN)/qnfv demo run $(if $(CONTROLLER),--controller $(CONTROLLER))

demo-pad: $(STAMP) ## send a configuration bundle under a one-time pad
	$(BIN)/qnfv demo pad

demo-relay: $(STAMP) ## deploy 60 km away, under a key that trusted nodes relayed
	$(BIN)/qnfv demo relay

capture: $(STAMP) ## capture one deployment on the wire and print its messages (tshark, OpenDaylight)
	$(BIN)/qnfv demo capture

lab: $(STAMP) ## start the lab and keep it running (stop it with Ctrl-C)
	$(BIN)/qnfv lab up $(if $(CONTROLLER),--controller $(CONTROLLER))

opendaylight: $(STAMP) ## build OpenDaylight once and run one instance in the foreground
	$(BIN)/python -m emulators.lab.opendaylight --state-dir .lab/opendaylight \
	  --restconf 127.0.0.1:8443 --openflow 127.0.0.1:6653

openstack: $(STAMP) ## install OpenStack once and run it in the foreground (guests on paper)
	$(BIN)/python -m emulators.lab.openstack --state-dir .lab/openstack

openstack-vm: $(STAMP) ## the same with libvirt and QEMU without KVM: guests boot
	$(BIN)/python -m emulators.lab.openstack --state-dir .lab/openstack-vm --hypervisor qemu

compose-lab: $(STAMP) ## build and start the lab in containers, run the main job there (BASE=auto|local|public)
	deploy/compose/lab.sh up $(or $(BASE),auto)

compose-down: $(STAMP) ## end the compose lab and remove all that it made
	deploy/compose/lab.sh down

test: $(STAMP) ## run all tests (real parts that are missing are skipped by name)
	$(BIN)/pytest

conformance: $(STAMP) ## hold the north-bound against the tables of SOL003 and a client of another orchestrator
	$(BIN)/pytest tests/integration/orchestrator/test_sol003_conformance.py tests/integration/orchestrator/test_vnf_packages_rest.py tests/integration/orchestrator/test_notifications.py tests/integration/orchestrator/openapi_conformance.py tests/e2e/test_tackerclient.py

check: $(STAMP) ## format, lint, types, directions of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .
	$(BIN)/lint-imports --no-cache

audit-dependencies: $(STAMP) ## ask whether a dependency has a known weakness (gates nothing)
	$(BIN)/pip-audit --skip-editable || true

format: $(STAMP) ## put the code in form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) ## measure against named peers, print ratios
	$(BIN)/python -m benchmarks

bench-schedule: $(STAMP) ## measure the scheduling policies against the bound
	$(BIN)/python -m benchmarks schedule

bench-circuits: $(STAMP) ## measure REST call to confirmed circuit, directly and through OpenDaylight
	$(BIN)/python -m benchmarks circuits

bench-lcm: $(STAMP) ## measure deployments by phase, up to 50 at once, and the restart with 1000 operations
	$(COMPILE)
	$(BIN)/python -m benchmarks lcm

bench-pages: $(STAMP) ## measure what pages weigh, when they are painted, and the laboratory's start and memory
	$(BIN)/python -m benchmarks pages

chaos-circuits: $(STAMP) ## 1000 switch-overs between Bobs while agent, orchestrator and OpenDaylight are killed
	QNFV_SWITCH_OVERS=$(or $(SWITCH_OVERS),1000) $(BIN)/pytest -s tests/chaos/optical_network --timeout 7200

chaos-deployments: $(STAMP) ## 50 times `kill -9` or a cut line in the life of deployments (one orchestrator, two replicas)
	QNFV_BLOWS=$(or $(BLOWS),50) $(if $(SEED),QNFV_SEED=$(SEED)) $(BIN)/pytest -s tests/chaos/deployments --timeout 7200

fig2: $(STAMP) ## measure Fig. 2 of the paper again on emulated units (four minutes)
	$(BIN)/qnfv experiments fig2 --out fig2

screenshots: $(STAMP) ## take the screenshots of docs/screenshots again (chromium)
	$(BIN)/python docs/take_screenshots.py

clean: ## remove what was made here (the lab's state too)
	@[ ! -x $(BIN)/qnfv ] || [ ! -e .lab/ports.json ] || $(BIN)/qnfv lab down
	rm -rf $(VENV) .lab .mypy_cache .ruff_cache .pytest_cache .hypothesis
