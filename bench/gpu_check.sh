#!/usr/bin/env bash
# Everything that needs a GPU, in one command and under ten minutes: builds all kernels, checks each of
# them on the hardware, runs compute-sanitizer, measures, trains. Needs Python with numba, numba-cuda,
# cuda-core, torch and CuPy; no network. Results: JSON and a table in $OUT (default: runs/gpu).
set -uo pipefail
cd "$(dirname "$0")/.."
export OUT="${OUT:-$PWD/runs/gpu}"
export PYTHONPATH="$PWD/.dev:$PWD${PYTHONPATH:+:$PYTHONPATH}"
export TILEGRAD_CACHE_DIR="${TILEGRAD_CACHE_DIR:-$OUT/kernels}"
unset NUMBA_ENABLE_CUDASIM
mkdir -p "$OUT"
exec "${PYTHON:-python3}" -m bench.gpu "$@"
