#!/usr/bin/env bash
# The JavaScript SDK's and examples' own tests.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v node >/dev/null 2>&1; then
  [ "${CI:-}" = true ] && { echo "node is missing, and CI tests the JavaScript half too" >&2; exit 1; }
  echo "SKIPPED: the JavaScript tests, since node is missing" >&2
  exit 0
fi
for project in sdk/js examples/shopping-cart; do
  echo "== $project"
  (cd "$project" && npm test --silent)
done
