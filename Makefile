# make demo    everything, on real images, on this machine
# make test    every test
# make check   style, types, who imports whom
# make setup   .venv with everything for development
#
# Each target does its own set-up. PYTHON says which Python makes the environments.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEVICE_PYTHONS ?= 3.10 3.11 3.13

.PHONY: help demo setup check format test pytest test-tflite-runtime test-device test-devices \
  mosquitto faketime emulation sshd contained booting boot-test device-proof faults \
  faults-results faults-cameras faults-pushes docs requirements \
  bench-seeds bench-parity bench-rescue bench-auto arm64 fuzz clean

help:
	@sed -n '/^# /s/^# //p' Makefile

demo: $(VENV)/workstation.stamp
	$(BIN)/lineside demo

setup: $(VENV)/development.stamp

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: pytest
	$(MAKE) -j 2 --output-sync=line test-tflite-runtime test-device

# Three at a time: most of them wait for processes that they have started. A file's tests stay
# together, since machines and models are made once for a file.
pytest: setup mosquitto faketime emulation sshd contained
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

# The engines' tests again, with the old runtime and the numpy that it wants, and what the converter
# finds out about that runtime.
test-tflite-runtime: setup
	$(BIN)/python tests/e2e/old_runtime.py

# The agent as a device installs it, in an empty environment: for this Python, and for all.
test-device: setup mosquitto
	$(BIN)/python tests/e2e/device_install.py --python $(BIN)/python

test-devices: setup mosquitto
	set -e; for version in $(DEVICE_PYTHONS); do \
	  $(BIN)/python tests/e2e/device_install.py --python $$version; done

# The broker that the tests talk to, and its command line clients. Without them those tests are
# skipped, with the reason.
mosquitto:
	@PATH="$$PATH:/usr/sbin"; { command -v mosquitto && command -v mosquitto_rr; } >/dev/null || { \
	  [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	    mosquitto mosquitto-clients; } || \
	  echo "mosquitto is not installed: the broker tests will be skipped" \
	    "(apt-get install mosquitto mosquitto-clients)"

# What steps one process's clock in the fault harness. Without it the clock is left alone there.
faketime:
	@command -v faketime >/dev/null || { \
	  [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends faketime; } || \
	  echo "faketime is not installed: clocks are not stepped (apt-get install faketime)"

# What runs arm64's programs here. Without it no package is installed on an emulated machine.
emulation:
	@{ command -v mmdebstrap && command -v qemu-aarch64-static; } >/dev/null || { \
	  [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	    qemu-user-static binfmt-support mmdebstrap arch-test; } || \
	  echo "mmdebstrap and qemu-user-static are not installed: nothing is tried on arm64"

# What stands for a device's SSH server. Without it nothing is pushed.
sshd:
	@PATH="$$PATH:/usr/sbin"; command -v sshd >/dev/null || { \
	  [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	    openssh-server openssh-client; } || \
	  echo "openssh-server is not installed: nothing is pushed in the tests"

# What boots a machine within this one, with systemd: without it nothing is pushed onto one.
contained:
	@command -v systemd-nspawn >/dev/null || { \
	  [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	    systemd-container; } || \
	  echo "systemd-container is not installed: nothing is pushed onto a machine that has booted"

# A machine that boots, under qemu: the first verdict after power-on, an agent that stands still.
# Four minutes; only root can make its disk.
boot-test: setup mosquitto emulation booting
	PATH="$$PATH:/usr/sbin:/sbin" $(BIN)/python -m pytest -n 0 -s -v tests/boot/boot.py

# The same; then cards, a push and the way back from a bad bundle, each on a machine that boots: ten
# minutes. The log is kept in bench/results.
device-proof: setup mosquitto emulation booting contained
	PATH="$$PATH:/usr/sbin:/sbin" bash -o pipefail -c '$(BIN)/python -m pytest -n 0 -s -v \
	  tests/boot/boot.py tests/deploy/test_station.py tests/boot/cloud.py \
	  | tee bench/results/device-proof.log'

booting:
	@PATH="$$PATH:/usr/sbin"; { command -v qemu-system-aarch64 && command -v mkfs.ext4 && \
	  command -v mkfs.fat && command -v depmod && command -v cpio && command -v ssh; } >/dev/null || { \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
	    --no-install-recommends qemu-system-arm e2fsprogs dosfstools kmod cpio \
	    openssh-client openssl; }

# The fault harness in its long form: hours. A part of it: FAULTS="--kills 50 …" for the results,
# CAMERAS="--times 3 --healthy 60" for the cameras.
faults: faults-results faults-cameras

faults-results: setup mosquitto faketime
	$(BIN)/python tests/faults/long.py $(FAULTS)

# An hour, with the pictures of ../shared.
faults-cameras: setup mosquitto
	$(BIN)/python tests/faults/cameras_long.py $(CAMERAS)

# Half an hour; only root can boot a machine. BUNDLE is any bundle: lineside demo makes one.
faults-pushes: setup mosquitto contained
	$(BIN)/python tests/faults/pushes_long.py --bundle $(BUNDLE) $(PUSHES)

docs: setup
	$(BIN)/python docs/generate.py

requirements:
	requirements/compile.sh

# Hours on a small machine are not needed, but minutes are: five whole demos, one for each seed.
bench-seeds: setup
	$(BIN)/python bench/seeds.py

# Half an hour each, most of it training, which is kept in build/quality.
bench-parity: setup
	$(BIN)/python bench/parity.py

bench-rescue: setup
	$(BIN)/python bench/rescue.py

# Some ten minutes.
bench-auto: setup
	$(BIN)/python bench/auto_grid.py

# The wheels for 64-bit arm under emulation: do they answer as this machine's? Debian only.
arm64: setup
	$(BIN)/python bench/arm64.py

# Ten thousand damaged .tflite files; a thousand of a smaller choice are in `make test`.
fuzz: setup
	$(BIN)/python bench/mutations.py

$(VENV)/%.stamp: requirements/%.txt pyproject.toml
	$(PYTHON) requirements/install.py $(VENV) $<
	@touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
