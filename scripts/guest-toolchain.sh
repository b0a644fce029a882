#!/bin/sh
# Fetches what Mini Apps are built with into $MPKG_TOOLCHAIN (default: target/guest-toolchain). Never as root, never a
# system package. Quick when everything is there.
#
# Rust: rustup's wasm32-unknown-unknown where rustup can fetch it. Where it cannot, on Debian and its relatives: the
# compiler that Debian builds Firefox with, downloaded with apt's own means and unpacked, not installed. It has no
# standard library for the target, so `mpkg build` builds that along (once).
# JavaScript: see guest-toolchain-js.sh.
#
#   MPKG_GUEST_RUST=debian   takes Debian's compiler even where rustup's would do
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
toolchain=${MPKG_TOOLCHAIN:-$root/target/guest-toolchain}
case $toolchain in /*) ;; *) toolchain=$PWD/$toolchain ;; esac
MPKG_TOOLCHAIN=$toolchain
export MPKG_TOOLCHAIN
target=wasm32-unknown-unknown
rust=$toolchain/rust
work=$toolchain/rust.part
# rustup downloads 25 MB; apt 150 MB.
patience=300

say() { printf '  %s\n' "$*"; }
fail() {
  printf 'guest-toolchain: %s\n' "$*" >&2
  exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }

# Whether the user's own compiler has the standard library for the target.
own_rust_works() {
  has cargo && has rustc || return 1
  libraries=$(rustc --print=target-libdir --target "$target" 2>/dev/null) || return 1
  for library in "$libraries"/libstd-*.rlib; do
    [ -e "$library" ] && return 0
  done
  return 1
}

apt_get() { timeout "$patience" apt-get -qq -o "Dir::State=$work/apt/state" -o Dir::State::status=/var/lib/dpkg/status \
  -o "Dir::Cache=$work/apt/cache" -o Dir::Log="$work/apt" -o Debug::NoLocking=1 -o APT::Sandbox::User= "$@"; }
apt_cache() { apt-cache -o "Dir::State=$work/apt/state" -o Dir::State::status=/var/lib/dpkg/status \
  -o "Dir::Cache=$work/apt/cache" "$@"; }

# What $1 depends on, as names that begin with $2.
dependency() { apt_cache depends --no-recommends --no-suggests "$1" 2>/dev/null | sed -n "s/^ *Depends: \($2.*\)/\1/p" | head -n 1; }

# Downloads packages and unpacks them into the work folder.
unpack() {
  (cd "$work/apt/debs" && apt_get download "$@") || return 1
  for deb in "$work"/apt/debs/*.deb; do
    dpkg-deb -x "$deb" "$work" || return 1
    rm -f "$deb"
  done
  # Some libraries still live in /lib; one folder is enough to search.
  if [ -d "$work/lib/$multiarch" ] && [ ! -L "$work/lib" ]; then
    cp -a "$work/lib/$multiarch/." "$work/usr/lib/$multiarch/"
    rm -rf "$work/lib"
  fi
}

# The Debian package of a library: libgit2.so.1.5 is in libgit2-1.5, libz3.so.4 in libz3-4, libffi.so.8 in libffi8.
package_of() {
  name=$(printf '%s' "${1%%.so*}" | tr _ -)
  version=${1#*.so.}
  case $1 in
    libxml2.so.2) echo libxml2 ;;
    *[0-9].so.*) echo "$name-$version" ;;
    *) echo "$name$version" ;;
  esac
}

# Libraries that are neither on this machine nor unpacked, until none is missing.
complete_libraries() {
  for _ in 1 2 3 4 5; do
    missing=$(LD_LIBRARY_PATH=$work/usr/lib/$multiarch ldd "$@" 2>/dev/null \
      | sed -n 's/^[[:space:]]*\(lib[^ ]*\) => not found.*/\1/p' | sort -u)
    [ -n "$missing" ] || return 0
    packages=$(for library in $missing; do package_of "$library"; done)
    say "rust: fetching libraries: $(echo "$packages" | tr '\n' ' ')"
    # Names of packages have no spaces in them.
    # shellcheck disable=SC2086
    unpack $packages || return 1
  done
  return 1
}

# A linker that speaks wasm, by whatever name: rustup's, the system's, else Debian's.
find_linker() {
  if has rustc; then
    for linker in "$(rustc --print=sysroot)"/lib/rustlib/*/bin/rust-lld; do
      [ -x "$linker" ] && echo "$linker" && return 0
    done
  fi
  for name in rust-lld lld wasm-ld; do
    if has "$name"; then
      readlink -f "$(command -v "$name")" && return 0
    fi
  done
  for version in 22 21 20 19 18 17 16 15 14; do
    if apt_cache show "lld-$version" >/dev/null 2>&1; then
      say "rust: fetching lld-$version" >&2
      unpack "lld-$version" >&2 || continue
      complete_libraries "$work/usr/lib/llvm-$version/bin/lld" >&2 || continue
      # Where it will lie when everything is in place.
      echo "$rust/usr/lib/llvm-$version/bin/lld" && return 0
    fi
  done
  return 1
}

fetch_debian_rust() {
  for tool in apt-get apt-cache dpkg-deb ldd timeout; do
    has "$tool" || fail "rustup cannot fetch $target, and without $tool Debian's compiler cannot be fetched either"
  done
  rm -rf "$work"
  mkdir -p "$work/apt/state/lists/partial" "$work/apt/cache/archives/partial" "$work/apt/debs"
  say "rust: reading Debian's package lists (a private copy)"
  apt_get update || fail "apt-get update failed"
  std=$(dependency libstd-rust-web-dev libstd-rust-web-)
  [ -n "$std" ] || fail "this distribution has no rustc-web; install $target with rustup"
  llvm=$(dependency "$std" libllvm)
  say "rust: fetching rustc-web, cargo-web, rust-web-src, $std, $llvm (150 MB)"
  multiarch=$(dpkg-architecture -q DEB_HOST_MULTIARCH 2>/dev/null || echo "$(uname -m)-linux-gnu")
  unpack rustc-web cargo-web rust-web-src "$std" libstd-rust-web-dev ${llvm:+"$llvm"} || fail "the download failed"
  complete_libraries "$work/usr/bin/rustc" "$work/usr/bin/cargo" "$work/usr/lib/$multiarch"/librustc_driver-*.so \
    "$work/usr/lib/$multiarch"/libLLVM*.so* || fail "a library is missing and Debian has none of its name"
  linker=$(find_linker) || fail "no linker for wasm was found; install lld"
  # The compiler's own source and the documentation are two thirds of it.
  for source in "$work"/usr/src/rustc-*/*; do
    case ${source##*/} in library | Cargo.lock | Cargo.toml) ;; *) rm -rf "$source" ;; esac
  done
  rm -rf "$work/usr/share" "$work/usr/libexec" "$work/usr/bin/rustdoc" "$work/apt"
  mkdir -p "$work/bin"
  ln -s "$linker" "$work/bin/rust-lld"
  ln -s "usr/lib/$multiarch" "$work/lib"
  LD_LIBRARY_PATH=$work/lib "$work/usr/bin/rustc" -V >"$work/ready" || fail "the fetched compiler does not run"
  LD_LIBRARY_PATH=$work/lib "$work/usr/bin/cargo" -V >>"$work/ready" || fail "the fetched cargo does not run"
  rm -rf "$rust"
  mv "$work" "$rust"
}

# Whether the unpacked compiler is whole. The linker may belong to a rustup that has been updated since.
debian_rust_is_there() { [ -s "$rust/ready" ] && [ -x "$rust/usr/bin/rustc" ] && [ -x "$rust/bin/rust-lld" ]; }

use_debian_rust() {
  if debian_rust_is_there; then
    say "rust: $(head -n 1 "$rust/ready") from Debian is in $rust"
  else
    fetch_debian_rust
    say "rust: $(head -n 1 "$rust/ready") from Debian, unpacked into $rust"
  fi
}

started=$(date +%s)
mkdir -p "$toolchain"
echo "guest toolchain in $toolchain"
if [ "${MPKG_GUEST_RUST:-}" = debian ]; then
  use_debian_rust
elif own_rust_works; then
  say "rust: $(rustc -V) has $target already"
elif has rustup && say "rust: asking rustup for $target" && timeout "$patience" rustup --quiet target add "$target" \
  && own_rust_works; then
  say "rust: rustup added $target"
else
  use_debian_rust
fi
if [ -d "$rust" ]; then
  say "rust: $(du -sh "$rust" | cut -f 1), ready after $(($(date +%s) - started)) s"
fi

js=$root/scripts/guest-toolchain-js.sh
if [ -f "$js" ]; then
  sh "$js"
fi
say "done after $(($(date +%s) - started)) s"
