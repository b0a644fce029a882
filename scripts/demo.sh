#!/usr/bin/env bash
# The main job as a story: build, sign, verify, tamper, run, deny and grant, stop a memory hog, kill a spinner.
# Usage: scripts/demo.sh FOLDER_OF_THE_BUILT_BINARIES
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$(cd "$1" && pwd):$PATH"
unset "${!MPKG_@}" 2>/dev/null || true
export MPKG_TOOLCHAIN="${TOOLCHAIN:-${CARGO_TARGET_DIR:-$PWD/target}/guest-toolchain}"

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
bold="" plain=""
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\e[1m' plain=$'\e[0m'; fi
rows=()

say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
# Shows a command as one would type it, then runs it; paths below the temporary folder are shortened.
show() {
  local shown="$*"
  printf '$ %s\n' "${shown//"$work"\//}"
  "$@" 2>&1 | sed "s|$work/||g"
}
# The same for a command that must fail, and with which status.
refused() {
  local expected="$1" status=0
  shift
  show "$@" || status=$?
  if [ "$status" != "$expected" ]; then
    echo "that should have ended with $expected, not $status" >&2
    exit 1
  fi
  echo "(exit status $status)"
}
now() { echo "${EPOCHREALTIME/[.,]/}"; }
# Builds, signs and verifies one app, and remembers its sizes and times for the table.
pack() {
  local name="$1" project="$2" from built signed verified
  from=$(now)
  show mpkg build "$project" --out "$work/$name.mpkg"
  built=$(now)
  mpkg sign "$work/$name.mpkg" --key "$work/release.pem" >/dev/null
  signed=$(now)
  mpkg verify "$work/$name.mpkg" --trust "$work/release.pem.pub" >/dev/null
  verified=$(now)
  rows+=("$(printf '%-14s %9s KiB %9s ms %6s ms %6s ms' "$name" "$(($(wc -c <"$work/$name.mpkg") / 1024))" \
    "$(((built - from) / 1000))" "$(((signed - built) / 1000))" "$(((verified - signed) / 1000))")")
}
# Feeds JSON-RPC lines to an app. Long talks are shown by their end.
run() { # NAME LINES SHOWN [FLAG...]
  local name="$1" lines="$2" shown="$3"
  shift 3
  echo "\$ mpkg run $name.mpkg --trust release.pem.pub $* < $(basename "$lines")"
  mpkg run "$work/$name.mpkg" --trust "$work/release.pem.pub" "$@" <"$lines" >"$work/said" 2>&1
  local total
  total=$(wc -l <"$work/said")
  [ "$total" -le "$shown" ] || echo "… $((total - shown)) lines more"
  tail -n "$shown" "$work/said" | cut -c1-160
}

say "1. A publisher makes a key."
show mpkg keys generate --out "$work/release.pem"

say "2. Three Mini Apps are built from source, signed and verified."
pack stock-alert examples/stock-alert
pack webhook-inbox examples/webhook-inbox
javascript=yes
if command -v node >/dev/null 2>&1; then
  pack shopping-cart examples/shopping-cart
else
  javascript=no
  echo "SKIPPED: shopping-cart, which is in JavaScript, since node is missing"
fi
show mpkg verify "$work/stock-alert.mpkg" --trust "$work/release.pem.pub"

say "3. Somebody changes one byte on the way."
cp "$work/stock-alert.mpkg" "$work/tampered.mpkg"
printf '\x2a' | dd of="$work/tampered.mpkg" bs=1 seek=20000 conv=notrunc status=none
refused 3 mpkg verify "$work/tampered.mpkg" --trust "$work/release.pem.pub"

say "4. stock-alert watches a shop's shelves: sales, a viral spike, an alert."
run stock-alert examples/stock-alert/demo/shop.jsonl 12 --allow storage,events

say "5. webhook-inbox takes signed orders; forged, late and repeated ones are refused (codes 2, 3 and 4)."
${CARGO:-cargo} run -q --manifest-path sdk/rust/Cargo.toml -p webhook-inbox --example sign >"$work/orders.jsonl"
run webhook-inbox "$work/orders.jsonl" 12 --allow storage

if [ "$javascript" = yes ]; then
  say "6. shopping-cart may not order while its user says no; then she says yes."
  cat >"$work/checkout.jsonl" <<'LINES'
{"jsonrpc":"2.0","id":1,"method":"cart.add","params":{"sku":"sencha-100","quantity":2}}
{"jsonrpc":"2.0","id":2,"method":"cart.checkout","params":{}}
LINES
  run shopping-cart "$work/checkout.jsonl" 8 --allow storage,events --deny cart.write
  run shopping-cart "$work/checkout.jsonl" 8 --allow storage,events,cart.write
fi

say "7. A memory hog is stopped at its cap, to the page."
pack memory-hog examples/hostile/memory
refused 1 mpkg run "$work/memory-hog.mpkg" --trust "$work/release.pem.pub" --call attack

say "8. A spinner is killed while it spins (Ctrl-C, after half a second)."
pack spinner examples/hostile/spin
echo "\$ mpkg run spinner.mpkg --trust release.pem.pub --call attack"
mpkg run "$work/spinner.mpkg" --trust "$work/release.pem.pub" --call attack 2>"$work/said" &
spinning=$!
sleep 0.5
kill -INT "$spinning"
killed=$(now)
wait "$spinning" || true
cat "$work/said"
echo "(gone $((($(now) - killed) / 1000)) ms after the signal, its whole process included)"

say "What it took"
printf '%-14s %13s %12s %9s %9s\n' app "signed size" build sign verify
printf '%s\n' "${rows[@]}"
