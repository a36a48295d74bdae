# shellcheck shell=bash disable=SC2034 # variables are for those who source it
# Sourced by quickstart, run-tests and setup.sh: where things are, what is said, how a preset is
# built. Needs bash and coreutils only.
#
# Sets: top (the sources), build (where presets and logs go; TRISPOOL_BUILD_ROOT names another
# place). The sources may lie anywhere and may be read-only: then everything built goes to the
# temporary directory.

umask 022
export LC_ALL=C.UTF-8 HOME="${HOME:-/root}"
export PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What a shell happens to export must not change what is built.
unset CDPATH CC CFLAGS CPPFLAGS LDFLAGS CMAKE_GENERATOR CMAKE_BUILD_TYPE DESTDIR NINJA_STATUS

top=$(cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)

choose_build_dir() {
    build=${TRISPOOL_BUILD_ROOT:-$top/build}
    if ! mkdir -p "$build/logs" 2>/dev/null || [ ! -w "$build/logs" ]; then
        build=${TMPDIR:-/tmp}/trispool-build-$(id -u)
        # A folder that somebody else put there could hold anything.
        mkdir -m 700 "$build" 2>/dev/null || true
        if [ -L "$build" ] || [ ! -d "$build" ] || [ ! -O "$build" ]; then build=$(mktemp -d); fi
        mkdir -p "$build/logs"
    fi
    build=$(cd -P -- "$build" && pwd)
}
choose_build_dir

# Colours for people only (https://no-color.org).
bold='' dim='' green='' red='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
    bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
fi

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }
die() {
    printf '%s%s%s\n' "$red" "$*" "$plain" >&2
    exit 1
}

# seconds_since START_EPOCHREALTIME
seconds_since() {
    local now=${EPOCHREALTIME/[.,]/}
    printf '%d.%01d' $(((now - ${1/[.,]/}) / 1000000)) $(((now - ${1/[.,]/}) / 100000 % 10))
}

# logged LOGFILE CMD...: runs CMD with its output in LOGFILE; when it fails, shows its errors and its
# end: what goes on after an error (ninja -k 0) has it long before.
logged() {
    local log=$1 rc=0
    shift
    "$@" >"$log" 2>&1 || rc=$?
    if [ $rc -ne 0 ]; then
        warn "failed ($rc): $*"
        grep -m 20 -E ' error: |^FAILED: |CMake Error' -- "$log" | cut -c 1-300 | sed 's/^/    /' >&2 || :
        tail -n 10 -- "$log" | sed 's/^/    /' >&2
        warn "    all of it: $log"
    fi
    return $rc
}

# configure_preset NAME: makes or renews build/NAME.
configure_preset() {
    local preset=$1 dir=$build/$1
    # A tree that was copied together with its build folder: CMake refuses the old paths.
    if [ -f "$dir/CMakeCache.txt" ] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$top" "$dir/CMakeCache.txt"; then
        rm -rf -- "$dir"
    fi
    logged "$build/logs/configure-$preset.log" cmake -S "$top" --preset "$preset" -B "$dir"
}

# build_preset NAME [TARGET...]: configures and builds build/NAME; no target: everything; a target
# that is a pattern, as '*_fuzz', stands for all that match. Building again is quick.
build_preset() {
    local preset=$1 target known targets=()
    configure_preset "$preset" || return
    shift
    for target in "$@"; do
        [[ $target == *'*'* ]] || { targets+=("$target"); continue; }
        while IFS= read -r known; do
            # shellcheck disable=SC2053 # a pattern
            [[ $known != $target ]] || targets+=("$known")
        done < <(ninja -C "$build/$preset" -t targets all | sed -n 's/^\([a-zA-Z0-9_-]*\): phony$/\1/p')
    done
    logged "$build/logs/build-$preset.log" ninja -C "$build/$preset" -k 0 "${targets[@]}"
}

# find_program PRESET NAME: path of a program that was built.
find_program() {
    local found
    found=$(find "$build/$1" -name "$2" -type f -perm -u+x -not -path '*/CMakeFiles/*' -print -quit)
    [ -n "$found" ] && printf '%s\n' "$found"
}
