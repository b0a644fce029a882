#!/usr/bin/env bash
# Says which tools are missing, all at once, and what to do about each.
set -euo pipefail

missing=0
need() {
  command -v "$1" >/dev/null 2>&1 && return
  echo "missing: $1 — $2" >&2
  missing=1
}
need cargo "install Rust 1.95 or newer with rustup"
if ! command -v cc >/dev/null 2>&1 && ! command -v gcc >/dev/null 2>&1 && ! command -v clang >/dev/null 2>&1; then
  echo "missing: a C compiler (cc, gcc or clang) — install your system's; BLAKE3 and others are partly in C" >&2
  missing=1
fi
[ "$missing" = 0 ] || exit 1

if ! command -v node >/dev/null 2>&1; then
  if [ "${CI:-}" = true ]; then
    echo "missing: node 20 or newer — CI tests the JavaScript half too" >&2
    exit 1
  fi
  echo "note: node is missing, so everything in JavaScript is SKIPPED; install node 20 or newer for it" >&2
fi
