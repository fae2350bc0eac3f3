# script/lib.sh - what script/run and script/test share: say what is done, install what is missing, build.
# Sourced, with the current directory at the top of the tree. Works where only bash, coreutils and apt exist.

# Nothing is run out of the folder that the caller happens to stand in, nor because of his Python's settings.
PATH=$(printf '%s' "$PATH" | tr : '\n' | grep '^/' | paste -sd:)
unset PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONUSERBASE CDPATH

# What the build and the programs need (Debian names). docs/DEPENDENCIES.md says why each is there.
packages_run="gcc libc6-dev cmake ninja-build pkg-config libjansson-dev libseccomp-dev libssl-dev libsodium-dev libedit-dev
    libcurl4-openssl-dev node-llhttp libvectorscan-dev python3 python3-pip ca-certificates"
# What only the tests need.
packages_test="libcmocka-dev clang libclang-rt-14-dev llvm strace git patchelf
    gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"

default_model=smollm2-135m-instruct

started=$SECONDS
worked=                                  # not empty: something was installed, built or fetched
say() { printf '== [%3d s] %s\n' $((SECONDS - started)) "$*" >&2; }
die() { printf '%s: %s\n' "script/${0##*/}" "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else die "not root and no sudo: run as root once, or install with apt: $missing"; fi
}

apt_get() { as_root env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 apt-get -o DPkg::Lock::Timeout=120 "$@"; }

# How far apt is, from the lines of its APT::Status-Fd: each step of a fifth.
apt_progress() {
    last=-20 before=
    while IFS=: read -r kind _ percent _; do
        case $kind in dlstatus) phase=fetching ;; pmstatus) phase="unpacking and setting up" ;; *) continue ;; esac
        percent=${percent%%.*}
        case $percent in ''|*[!0-9]*) continue ;; esac
        [ "$phase" = "$before" ] || last=-20
        [ "$percent" -ge $((last + 20)) ] || continue
        say "apt: $phase, $percent %"
        last=$percent before=$phase
    done
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
    worked=1
    say "installing with apt:$missing"
    [ "$(id -u)" = 0 ] || say "that takes root's rights: sudo may ask for your password"
    log=$(mktemp)
    if apt_get update -qq >"$log" 2>&1; then
        # Lines of 'URI' FILE BYTES HASH; what apt would do with --assume-no depends on whether it has something to ask.
        say "apt: $(apt_get install -y -qq --print-uris --no-install-recommends $missing </dev/null 2>/dev/null |
            awk '{ n++; sum += $3 } END { printf "%d packages to fetch, %.1f MB", n, sum / 1e6 }')"
        apt_get install -y -q --no-install-recommends -o APT::Status-Fd=1 $missing 2>&1 </dev/null | tee "$log" | apt_progress
        [ "${PIPESTATUS[0]}" != 0 ] || { rm -f "$log"; say "apt: done"; return 0; }
    fi
    grep -vE '^(dl|pm)status:' "$log" | tail -20 >&2; rm -f "$log"
    die "apt could not install:$missing (see above; is the network there, and /etc/apt/sources.list right?)"
}

# How far ninja is: its "[12/186] ..." lines, one for each fifth or ten seconds.
build_progress() {
    shown=0 at=$SECONDS
    while IFS= read -r line; do
        case $line in "["*"]"*Re-checking*) continue ;; "["*/*"]"*) ;; *) continue ;; esac
        count=${line#"["} count=${count%%"]"*}
        done=${count%/*} total=${count#*/}
        case $done$total in ''|*[!0-9]*) continue ;; esac
        if [ $shown = 0 ]; then
            say "building build/$1, $total steps"
            shown=1
        elif [ $((done * 5 / total)) -ge "$shown" ] || [ $((SECONDS - at)) -ge 10 ]; then
            say "building build/$1: $done of $total"
            shown=$((done * 5 / total + 1)) at=$SECONDS
        fi
    done
}

# build PRESET TARGETS [cmake options...]: configures when that was not done yet (or options are given), then builds
# what is out of date. TARGETS may be "" for everything. Silent unless something is built or fails.
build() {
    preset=$1 targets=$2; shift 2
    log=$(mktemp)
    if [ ! -f "build/$preset/build.ninja" ] || [ $# -gt 0 ]; then
        cmake --preset "$preset" -G Ninja $(command -v ccache >/dev/null && echo -DCMAKE_C_COMPILER_LAUNCHER=ccache) "$@" \
            >"$log" 2>&1 ||
            { cat "$log" >&2; rm -f "$log"; die "cmake could not configure build/$preset (see above)"; }
    fi
    # ninja with nothing to do takes some 20 ms and prints no step: then nothing is said.
    nice -n 5 ninja -C "build/$preset" $targets 2>&1 | tee "$log" | build_progress "$preset"
    [ "${PIPESTATUS[0]}" = 0 ] ||
        { grep -A12 -E 'error|FAILED' "$log" | head -60 >&2; rm -f "$log"; die "the build in build/$preset failed (see above)"; }
    [ "$(grep '^\[' "$log" | grep -cv Re-checking)" = 0 ] || { worked=1; say "build/$preset is built"; }
    rm -f "$log"
}

# Fetches the default model unless it is there.
fetch_model() {
    build/release/bin/veritas models path "$default_model" >/dev/null 2>&1 && return 0
    worked=1
    say "fetching the model $default_model (98 MB, once)"
    build/release/bin/veritas models pull "$default_model" >&2
}

# What to do with what is there now.
say_next() {
    cat >&2 <<END

== Ready. The programs are in $1.
   Call veritas by its name, in this terminal:     export PATH="$1:\$PATH"
   or install it for everybody (cmake and sudo):   sudo cmake --install "${1%/bin}"
   Then try:
     veritas chat                       talk, turn by turn
     veritas models list                other models, and how to fetch them
     veritas help                       all commands
END
}
