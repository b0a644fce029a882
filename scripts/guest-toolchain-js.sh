#!/bin/sh
# Installs what JavaScript Mini Apps are built with into $MPKG_TOOLCHAIN/js (default: target/guest-toolchain/js), from
# npm, at the versions and hashes of sdk/js/toolchain/package-lock.json. Does nothing if that is there already.
# Without node it says that the JavaScript half is skipped; with CI=true that is an error.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
source=$root/sdk/js/toolchain
toolchain=${MPKG_TOOLCHAIN:-$root/target/guest-toolchain}
js=$toolchain/js

# The lock file lies beside node_modules only once everything that it names is installed.
installed() {
    [ -d "$js/node_modules" ] && cmp -s "$source/package-lock.json" "$js/package-lock.json"
}

missing() {
    if [ "${CI:-}" = true ]; then
        echo "error: $1 is needed to build JavaScript Mini Apps; install Node 20 or newer" >&2
        exit 1
    fi
    echo "SKIPPED: $1 is not here, so JavaScript Mini Apps cannot be built or tested (Node 20 or newer has it)" >&2
    exit 0
}

command -v node >/dev/null 2>&1 || missing node
command -v npm >/dev/null 2>&1 || missing npm
major=$(node --version | sed 's/^v\([0-9]*\).*/\1/')
[ "$major" -ge 20 ] || missing "Node 20 (this is $(node --version))"

if installed; then
    exit 0
fi

echo "Installing the JavaScript guest toolchain into $js (64 MB from npm, once)" >&2
mkdir -p "$toolchain"
# Beside the final folder and renamed, so that a broken install leaves no half of one behind.
fresh=$(mktemp -d "$toolchain/.js-XXXXXX")
trap 'rm -rf "$fresh"' EXIT
cp "$source/package.json" "$source/package-lock.json" "$fresh/"
(cd "$fresh" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
rm -rf "$js"
mv "$fresh" "$js"
trap - EXIT
