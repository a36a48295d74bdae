#!/bin/bash
# What trispool needs from the machine: packages, and for the tests some abilities of the kernel.
#
#     tests/support/setup.sh                 install everything, check everything, say what is missing
#     tests/support/setup.sh packages build  the packages to build and to run ./quickstart
#     tests/support/setup.sh packages test   those and what ./run-tests needs
#     tests/support/setup.sh machine         mounts, namespaces, devices: repair and check
#     tests/support/setup.sh list build|test print the names of the packages
#
# quickstart and run-tests source this file and call setup_packages and setup_machine. Installing
# needs root or sudo. Everything may be repeated, and costs well under a second when all is there.
# Made for Debian 12; Debian 13 has all of it, libraft included.
# shellcheck source-path=SCRIPTDIR
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

# To build, and to run quickstart: swaks, the client that sends its mails, with what it needs for
# TLS, IPv6 and MX, which --no-install-recommends leaves out; netbase for /etc/services.
packages_build=(
    gcc libc6-dev cmake ninja-build pkg-config python3 check scdoc
    libevent-dev libssl-dev liblmdb-dev libprotobuf-c-dev protobuf-c-compiler libc-ares-dev
    libyaml-dev libjansson-dev libxxhash-dev libsystemd-dev libidn2-dev
    libraft-dev libzmq3-dev
    swaks libnet-ssleay-perl libio-socket-inet6-perl libnet-dns-perl netbase
)
# To test. libclang-rt-14-dev is what clang -fsanitize links with, llvm has the symbolizer.
# postgrey: a policy server that many run, for the check "server".
# The libraries in the last lines are what an unpacked Postfix and OpenSMTPD link with.
packages_test=(
    clang libclang-rt-14-dev llvm clang-format universal-ctags
    python3-pytest faketime openssl ca-certificates procps make xxd file
    nftables iproute2 iputils-ping socat fuse3 libfuse3-dev e2fsprogs
    postgrey
    knot knot-dnsutils unbound bind9-dnsutils spin
    libdb5.3 libicu72 libnsl2 libsasl2-2 libssl3 libpam0g libevent-2.1-7
)

setup_list() {
    case $1 in
    build) printf '%s\n' "${packages_build[@]}" ;;
    test) printf '%s\n' "${packages_build[@]}" "${packages_test[@]}" ;;
    *) die "setup.sh: no set of packages is called '$1' (build, test)" ;;
    esac
}

# Names of the given packages that are not installed.
setup_missing() {
    local have
    # dpkg-query fails when it does not know one of the names: that is an answer, too.
    have=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null |
        sed -n 's/^installed //p') || true
    # An older library loses committed entries: installed, it is as good as missing.
    setup_raft_is_new "$(dpkg-query -W -f '${Version}' libraft-dev 2>/dev/null || true)" ||
        have=$(grep -vx libraft-dev <<<"$have") || true
    comm -23 <(printf '%s\n' "$@" | sort -u) <(sort -u <<<"$have")
}

# --- libraft ---------------------------------------------------------------------------------

raft_oldest=0.22.1
raft_source=/etc/apt/sources.list.d/trispool-backports.sources
raft_pin=/etc/apt/preferences.d/trispool-raft

# setup_raft_is_new VERSION
setup_raft_is_new() { [ -n "$1" ] && dpkg --compare-versions "$1" ge "$raft_oldest"; }

# The version that apt would install.
setup_raft_candidate() {
    apt-cache policy libraft-dev | awk '$1 == "Candidate:" && $2 != "(none)" { print $2 }'
}

# Runs as root, after apt-get update. Debian 12 itself has libraft 0.15; its backports have what
# we need. The suite comes from the mirror that apt already uses, unless it is known to apt: two
# entries for one suite that differ in Signed-By stop apt altogether. The pin is for libraft alone,
# by codename (the name of the suite moves when a new Debian comes out); nothing else is touched.
# What did not help is taken away again, so that apt works as before.
setup_raft_backports() {
    local suite targets mirror update=("$@")
    ! setup_raft_is_new "$(setup_raft_candidate)" || return 0
    suite=$(. /etc/os-release && printf '%s-backports' "${VERSION_CODENAME:-bookworm}")
    # shellcheck disable=SC2016 # apt expands them
    targets=$(apt-get indextargets --format '$(ORIGIN) $(REPO_URI) $(CODENAME)' \
        'Created-By: Packages')
    if ! awk -v suite="$suite" '$NF == suite { found = 1 } END { exit !found }' <<<"$targets"; then
        mirror=$(awk -v name="${suite%-backports}" \
            '$1 == "Debian" && $NF == name { print $2; exit }' <<<"$targets")
        [ -n "$mirror" ] || { echo "apt knows no mirror of ${suite%-backports}" >&2; return 1; }
        printf '%s\n' "# For libraft >= $raft_oldest; written by the set-up of trispool." \
            'Types: deb' "URIs: $mirror" "Suites: $suite" 'Components: main' \
            'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg' >"$raft_source"
    fi
    printf '%s\n' "Explanation: written by the set-up of trispool" 'Package: libraft*' \
        "Pin: release n=$suite" 'Pin-Priority: 600' >"$raft_pin"
    "${update[@]}" || true
    setup_raft_is_new "$(setup_raft_candidate)" || {
        echo "no libraft-dev >= $raft_oldest in $suite of ${mirror:-the mirror apt knows}" >&2
        rm -f -- "$raft_source" "$raft_pin"
        "${update[@]}" || true
        return 1
    }
}

# Runs as root. No service of an installed package starts: policy-rc.d says no as long as apt runs
# (services are for the machine's owner to start, and some want ports the tests want).
setup_install_as_root() (
    guard=/usr/sbin/policy-rc.d mark='# written by the set-up of trispool'
    restore() {
        rm -f -- "$guard"
        [ ! -e "$guard.trispool-saved" ] || mv -- "$guard.trispool-saved" "$guard"
    }
    # What a killed run left behind is ours.
    if grep -qxF "$mark" "$guard" 2>/dev/null; then restore; fi
    [ ! -e "$guard" ] || mv -- "$guard" "$guard.trispool-saved"
    trap restore EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$guard"
    chmod 755 "$guard"

    export DEBIAN_FRONTEND=noninteractive
    wait_for_lock=(-o DPkg::Lock::Timeout=300)
    # Without Error-Mode=any, update says 0 when a mirror cannot be reached. A source that has
    # nothing to do with us may be the one that fails: install decides.
    update=(apt-get -q "${wait_for_lock[@]}" update -o APT::Update::Error-Mode=any)
    "${update[@]}" </dev/null ||
        echo "apt-get update failed, see above; trying to install with what is known" >&2
    case " $* " in *" libraft-dev "*) setup_raft_backports "${update[@]}" </dev/null ;; esac
    apt-get -q "${wait_for_lock[@]}" install -y --no-install-recommends "$@" </dev/null
)

# setup_packages build|test: installs what is missing of that set.
setup_packages() {
    local missing log=$build/logs/packages.log names
    mapfile -t names < <(setup_list "$1")
    command -v dpkg-query >/dev/null || die "This is not a Debian system. Needed here are: ${names[*]}"
    mapfile -t missing < <(setup_missing "${names[@]}")
    [ ${#missing[@]} -gt 0 ] || return 0
    say "Installing ${#missing[@]} packages: ${missing[*]}"
    setup_as_root "$log" "${missing[@]}" || true
    mapfile -t missing < <(setup_missing "${missing[@]}")
    [ ${#missing[@]} -eq 0 ] ||
        die "Not installed: ${missing[*]}
    The log is $log. On Debian 12 with a working mirror this does it
    (libraft-dev must be $raft_oldest or newer: there it is in bookworm-backports):
    apt-get update && apt-get install --no-install-recommends ${missing[*]}"
}

# setup_as_root LOG PACKAGE...
setup_as_root() {
    local log=$1
    shift
    if [ "$(id -u)" -eq 0 ]; then
        logged "$log" setup_install_as_root "$@"
    elif command -v sudo >/dev/null; then
        # sudo may have to ask for a password: outside of the log.
        sudo -v || die "Installing packages needs root, and sudo said no."
        logged "$log" sudo bash "$top/tests/support/setup.sh" install "$@"
    else
        die "Installing packages needs root, and there is no sudo. As root, do:
    apt-get update && apt-get install --no-install-recommends $*"
    fi
}

# --- the machine -----------------------------------------------------------------------------

# A fresh root (debootstrap, chroot) has none of this mounted. Only what is missing is touched.
setup_repair() {
    [ "$(id -u)" -eq 0 ] || return 0
    local node
    [ -r /proc/self/mounts ] || setup_mount proc /proc
    [ -d /sys/kernel ] || setup_mount sysfs /sys
    grep -qs ' cgroup2 ' /proc/self/mounts || setup_mount cgroup2 /sys/fs/cgroup
    for node in 'null 1 3' 'zero 1 5' 'full 1 7' 'random 1 8' 'urandom 1 9' 'tty 5 0' \
        'fuse 10 229' 'net/tun 10 200' 'loop-control 10 237'; do
        # shellcheck disable=SC2086 # three words
        setup_device $node
    done
    [ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd 2>/dev/null || true
}

# setup_mount TYPE DIR: when it cannot be done, the checks say so.
setup_mount() {
    if [ -d "$2" ] && mount -t "$1" "$1" "$2" 2>/dev/null; then
        say "Mounted $1 on $2, it was missing."
    fi
}

# setup_device NAME MAJOR MINOR
setup_device() {
    [ ! -e "/dev/$1" ] || return 0
    mkdir -p "/dev/$(dirname "$1")" 2>/dev/null || true
    mknod -m 666 "/dev/$1" c "$2" "$3" 2>/dev/null || true
}

# setup_check NAME WHAT-TO-DO CMD...: one line when CMD fails, and NAME into `machine_missing`.
setup_check() {
    local name=$1 cure=$2
    shift 2
    if "$@" >/dev/null 2>&1; then
        return 0
    fi
    machine_missing+=("$name")
    warn "missing: $name. $cure"
}

setup_opens() { [ -c "$1" ] && (exec 3<>"$1"); }

# setup_machine: repairs what it can and checks what the integration tests use: network namespaces
# for real mail servers side by side, FUSE and cgroups for disks that fail, faketime apart.
# What is missing fails the tests that need it; everything else runs.
setup_machine() {
    machine_missing=()
    setup_repair
    setup_check "root rights" \
        "The tests make namespaces and mounts: run as root, or by sudo." [ "$(id -u)" -eq 0 ]
    setup_check "/proc" "mount -t proc proc /proc" [ -r /proc/self/mounts ]
    setup_check "/ as a mount point" \
        "In a chroot, do before it: mount --bind ROOT ROOT, then chroot ROOT." mountpoint -q /
    setup_check "mount namespaces" \
        "Needs CAP_SYS_ADMIN: in a container, start it privileged." \
        unshare -m --propagation unchanged true
    setup_check "network namespaces with veth" \
        "Needs CAP_NET_ADMIN and the module veth (modprobe veth)." \
        unshare -n ip link add p0 type veth peer name p1
    setup_check "nftables" "Needs a kernel with nf_tables (modprobe nf_tables)." \
        unshare -n nft add table inet t
    setup_check "FUSE" "modprobe fuse; mknod /dev/fuse c 10 229" setup_opens /dev/fuse
    setup_check "TUN" "modprobe tun; mknod /dev/net/tun c 10 200" setup_opens /dev/net/tun
    setup_check "overlay file systems" "modprobe overlay" unshare -m --propagation private sh -c \
        'mount -t tmpfs t /mnt && mkdir /mnt/u /mnt/w /mnt/r &&
        mount -t overlay -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w o /mnt/r'
    setup_check "cgroup2" "mount -t cgroup2 cgroup2 /sys/fs/cgroup" \
        grep -q ' cgroup2 ' /proc/self/mounts
    [ ${#machine_missing[@]} -eq 0 ]
}

# --- on its own ------------------------------------------------------------------------------

setup_main() {
    set -eu -o pipefail
    case ${1:-all} in
    install) setup_install_as_root "${@:2}" ;;
    list) setup_list "${2:-test}" ;;
    packages) setup_packages "${2:-test}" ;;
    machine) setup_machine ;;
    all)
        setup_packages test
        say "Packages: all there."
        setup_machine && say "Machine: all there."
        ;;
    *) die "usage: setup.sh [packages build|test] [machine] [list build|test]" ;;
    esac
}

[ "${BASH_SOURCE[0]}" != "$0" ] || setup_main "$@"
