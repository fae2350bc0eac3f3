# script/lib.sh - what script/run and script/test share: say what is done, install what is missing, build.
# Sourced, with the current directory at the top of the tree. Works where only bash, coreutils and apt exist.

# Nothing is run out of the folder that the caller happens to stand in, nor because of his Python's settings.
PATH=$(printf '%s' "$PATH" | tr : '\n' | grep '^/' | paste -sd:)
unset PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONUSERBASE CDPATH

# What the build and the programs need (Debian names). docs/DEPENDENCIES.md says why each is there.
packages_run="gcc libc6-dev cmake ninja-build pkg-config libjansson-dev libseccomp-dev libssl-dev libedit-dev libcurl4-openssl-dev libcmocka-dev
    python3 python3-pip ca-certificates"
# What only the tests need.
packages_test="clang libclang-rt-14-dev llvm strace git gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"

default_model=smollm2-135m-instruct

started=$SECONDS
say() { printf '== [%3d s] %s\n' $((SECONDS - started)) "$*" >&2; }
die() { printf '%s: %s\n' "script/${0##*/}" "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else die "not root and no sudo: run as root once, or install with apt: $missing"; fi
}

# install_packages NAME...: installs those that are missing; asks dpkg every time (some 20 ms), so nothing can go stale.
install_packages() {
    if ! command -v dpkg-query >/dev/null; then
        command -v cmake >/dev/null && command -v ninja >/dev/null ||
            die "this is not Debian: install what these Debian packages hold, then run again: $*"
        return 0
    fi
    have=" $(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null | sed -n 's/ installed$//p' | tr '\n' ' ') "
    missing=""
    for package in "$@"; do case "$have" in *" $package "*) ;; *) missing="$missing $package" ;; esac; done
    [ -n "$missing" ] || return 0
    say "installing:$missing"
    log=$(mktemp)
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >"$log" 2>&1 &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >"$log" 2>&1 || {
        tail -20 "$log" >&2; rm -f "$log"
        die "apt could not install:$missing (see above; is the network there, and /etc/apt/sources.list right?)"; }
    rm -f "$log"
}

# build PRESET TARGETS [cmake options...]: configures when that was not done yet (or options are given), then builds
# what is out of date. TARGETS may be "" for everything. Silent unless something is built or fails.
build() {
    preset=$1 targets=$2; shift 2
    log=$(mktemp)
    if [ ! -f "build/$preset/build.ninja" ] || [ $# -gt 0 ]; then
        cmake --preset "$preset" -G Ninja "$@" >"$log" 2>&1 ||
            { cat "$log" >&2; rm -f "$log"; die "cmake could not configure build/$preset (see above)"; }
    fi
    # ninja with nothing to do takes some 20 ms and prints no step: then nothing is said.
    nice -n 5 ninja -C "build/$preset" $targets 2>&1 | tee "$log" |
        awk -v what="$preset" '/^\[/ && !/Re-checking/ && !said { print "== building build/" what >"/dev/stderr"; said = 1 }'
    [ "${PIPESTATUS[0]}" = 0 ] ||
        { grep -A12 -E 'error|FAILED' "$log" | head -60 >&2; rm -f "$log"; die "the build in build/$preset failed (see above)"; }
    rm -f "$log"
}

# Fetches the default model unless it is there.
fetch_model() {
    build/release/bin/veritas models path "$default_model" >/dev/null 2>&1 && return 0
    say "fetching the model $default_model (98 MB, once)"
    build/release/bin/veritas models pull "$default_model" >&2
}
