#!/bin/sh
# Writes the requirement files anew, from pyproject.toml: needs uv. No file holds an address.
set -eu
cd "$(dirname "$0")/.."
compile="uv pip compile --quiet --universal --python-version 3.10 --generate-hashes
  --no-emit-index-url --no-header --no-annotate pyproject.toml requirements/build.in"
$compile --extra dev -c requirements/constraints.in -o requirements/development.txt
$compile --extra demo --extra deploy -c requirements/development.txt -o requirements/workstation.txt
$compile --extra agent -c requirements/development.txt -o requirements/device.txt
# What a package for a device holds: nothing that builds, but pip.
uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url \
  --no-header --no-annotate pyproject.toml requirements/installer.in --extra agent \
  -c requirements/development.txt -o deploy/lineside_deploy/requirements.txt
uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url \
  --no-header --no-annotate requirements/test.in -c requirements/development.txt \
  -o requirements/test.txt
uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url \
  --no-header --no-annotate pyproject.toml requirements/tflite-runtime.in \
  -o requirements/tflite-runtime.txt
