#!/bin/bash
# Runs quickstart or the tests in a fresh minimal Debian 12 with nothing but the sources: proof
# that they install all they need.
#
#     tests/support/minimal-root.sh story            ./quickstart --story
#     tests/support/minimal-root.sh tests [quick]    ./run-tests
#     tests/support/minimal-root.sh CMD...           any other command, in the folder of the sources
#
# The sources are those of the last commit (of a tree that is no repository: all files but build/).
# The root is made by debootstrap below $TMPDIR (or /var/tmp), from the mirror that the apt of this
# machine uses, and bind-mounted on itself, with /proc, /sys and /dev. It needs root and about 1 GB
# for the story, 3 GB for the tests. Mounts and processes live in namespaces of their own, so that
# the kernel removes them, however this ends.
# KEEP_ROOT=1 keeps the root and says where it is; USE_ROOT=DIR uses such a one again.
# shellcheck disable=SC2016,SC2317 # what stands in single quotes is for others to expand
set -eu -o pipefail
# shellcheck source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

case ${1:-} in
story) inner=(./quickstart --story) ;;
tests) inner=(./run-tests "${@:2}") ;;
'' | -*)
    warn "usage: minimal-root.sh story|tests [quick]|CMD..."
    exit 64
    ;;
*) inner=("$@") ;;
esac

[ "$(id -u)" -eq 0 ] || die "A root file system can only be made as root: run it by sudo."
command -v debootstrap >/dev/null || die "debootstrap is missing: apt-get install debootstrap"

mirror() {
    local found
    found=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' |
        awk '$2 == "bookworm" { print $1; exit }')
    # Without lists indextargets prints nothing.
    printf '%s\n' "${found:-http://deb.debian.org/debian}"
}

copy_sources() {
    if git -C "$top" rev-parse --verify -q HEAD >/dev/null 2>&1; then
        git -C "$top" archive HEAD | tar -x -C "$1"
    else
        tar -c -C "$top" --exclude=./build --exclude=./.git . | tar -x -C "$1"
    fi
}

remove() {
    if [ -n "${KEEP_ROOT:-}${USE_ROOT:-}" ]; then
        say "The root is kept: $root"
    else
        rm -rf --one-file-system -- "$root"
    fi
}

if [ -n "${USE_ROOT:-}" ]; then
    root=$USE_ROOT
else
    root=$(mktemp -d "${TMPDIR:-/var/tmp}/trispool-root.XXXXXX")
fi
chmod 755 -- "$root" # a real one is open to all, and tests become somebody else
trap remove EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if [ ! -e "$root/etc/debian_version" ]; then
    say "Making a minimal Debian 12 in $root"
    logged "$build/logs/debootstrap.log" debootstrap --variant=minbase bookworm "$root" "$(mirror)"
fi
name=trispool # the only folder of /opt in there
rm -rf -- "$root/opt/$name"
mkdir -p "$root/opt/$name"
copy_sources "$root/opt/$name"

say "In it: ${inner[*]}"
# The outer shell is process 1 of its own world: when it ends, everything in there does.
rc=0
unshare --mount --propagation private --pid --fork --kill-child=SIGKILL bash -eu -c '
    root=$1
    shift
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --rbind /dev "$root/dev"
    cd "$root"
    rc=0
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb \
        ${http_proxy:+http_proxy="$http_proxy"} chroot "$root" sh -c '\''cd /opt/* && exec "$@"'\'' sh "$@" || rc=$?
    exit $rc
' bash "$root" "${inner[@]}" || rc=$?
exit $rc
