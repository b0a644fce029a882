#!/usr/bin/env bash
# Runs every fuzz target for FUZZ_SECONDS seconds (60), or only those that are named. Stops at the first finding and
# leaves its input below fuzz/artifacts.
#
# Builds the libFuzzer programs by itself, so that neither cargo-fuzz nor a nightly compiler has to be there: coverage
# is a stable option. Address sanitizing is not, and finds nothing in code without `unsafe`; `cargo +nightly fuzz run
# TARGET` adds it, with the same targets and the same folders.
set -euo pipefail
cd "$(dirname "$0")/../fuzz"

seconds="${FUZZ_SECONDS:-60}"
target="${CARGO_TARGET_DIR:-$PWD/../target}/fuzz"
host="$(rustc -vV | sed -n 's/^host: //p')"
targets=("$@")
[ $# -gt 0 ] || targets=(container signing_block manifest statement root_chain roundtrip delta fleet_document telemetry evidence)

# libfuzzer-sys compiles the fuzzer, which is written in C++.
if ! command -v "${CXX:-c++}" > /dev/null; then
  echo "SKIPPED: fuzzing needs a C++ compiler (c++, or the one that CXX names), and there is none" >&2
  exit "${FUZZ_MISSING_STATUS:-1}"
fi

CARGO_TARGET_DIR="$target" cargo run -q --release --no-default-features --bin seeds -- corpus
echo "building the fuzz targets"
flags=(-Cpasses=sancov-module -Ccodegen-units=1 --cfg=fuzzing)
for option in level=4 inline-8bit-counters pc-table trace-compares; do
  flags+=("-Cllvm-args=-sanitizer-coverage-$option")
done
# With --target the flags are not for build scripts and macros.
RUSTFLAGS="${flags[*]}" CARGO_TARGET_DIR="$target" \
  cargo build -q --release --target "$host" "${targets[@]/#/--bin=}"

for name in "${targets[@]}"; do
  echo "fuzzing $name for $seconds s"
  mkdir -p "corpus/$name" "artifacts/$name"
  log="artifacts/$name.log"
  # The largest valid inputs are about 2 KiB. The limits of memory and time are findings like any other.
  if ! "$target/$host/release/$name" -max_total_time="$seconds" -max_len=8192 -timeout=10 -rss_limit_mb=1024 \
    -dict=mpkg.dict -artifact_prefix="artifacts/$name/" -print_final_stats=1 "corpus/$name" > "$log" 2>&1; then
    tail -n 40 "$log" >&2
    echo "FOUND: $name fails; its input lies below fuzz/artifacts/$name" >&2
    exit 1
  fi
  grep -E 'INITED|DONE|number_of_executed_units|peak_rss' "$log" | sed 's/^/  /'
done
