#!/usr/bin/env bash
# Everything that needs a GPU, in one command and at most eight minutes (--quick: three): builds all kernels
# in as many processes as there are processors, checks each of them on the hardware, then large shapes,
# runs compute-sanitizer, measures, trains. Stages may be named. Needs Python with numba, numba-cuda,
# cuda-core and torch, better CuPy too; no network. Results: JSON and a table in $OUT (default: runs/gpu),
# written as they come.
set -uo pipefail
cd "$(dirname "$0")/.."
export OUT="${OUT:-$PWD/runs/gpu}"
export PYTHONPATH="$PWD/.dev:$PWD${PYTHONPATH:+:$PYTHONPATH}"
export TILEGRAD_CACHE_DIR="${TILEGRAD_CACHE_DIR:-$OUT/kernels}"
unset NUMBA_ENABLE_CUDASIM
mkdir -p "$OUT"
exec "${PYTHON:-python3}" -m tilegrad.bench.gpu "$@"
