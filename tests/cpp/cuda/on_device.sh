#!/bin/sh
# on_device.sh BINARY: bebr_device_tests as it is, then under each tool of compute-sanitizer, which comes with CUDA's
# toolkit. Ends with status 3 where there is no CUDA device, with 4 where there is no compute-sanitizer.
set -eu
"$1"
if ! command -v compute-sanitizer >/dev/null; then
  echo "no compute-sanitizer on PATH: the kernels' tests pass, and were not looked into" >&2
  exit 4
fi
for tool in memcheck racecheck synccheck initcheck; do
  echo "compute-sanitizer --tool $tool"
  compute-sanitizer --tool "$tool" --error-exitcode 1 "$1"
done
