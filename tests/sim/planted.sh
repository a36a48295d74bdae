#!/bin/bash
# Does the simulator find bugs? Each one of base/fault.h is switched on in turn, in a build that
# has them (TRISPOOL_PLANTED); then lives are simulated until one is violated.
#
#     tests/sim/planted.sh [--lives N] [NUMBER...]
#
# Prints a line for each bug: its name, the seed that found it, and what was seen. The last line is
# "N of N found"; the status is 0 only then.
set -eu -o pipefail
# shellcheck source=tests/support/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../support/lib.sh"

lives=400
if [ "${1:-}" = --lives ]; then
    lives=$2
    shift 2
fi
dir=$build/planted
logged "$build/logs/configure-planted.log" cmake -S "$top" --preset release -B "$dir" \
    -DTRISPOOL_PLANTED=ON
logged "$build/logs/build-planted.log" ninja -C "$dir" trispool-sim
sim=$dir/tests/sim/trispool-sim

found=0 total=0
while read -r number name text; do
    [ $# -eq 0 ] || [[ " $* " == *" $number "* ]] || continue
    total=$((total + 1))
    began=$EPOCHREALTIME
    seen=$("$sim" --bug "$number" --seeds "$lives" --jobs "$(nproc)" 2>/dev/null |
        grep -m 1 '^VIOLATION' || true)
    if [ -n "$seen" ]; then
        found=$((found + 1))
        say "found   $number $name ($text): ${seen#VIOLATION } [$(seconds_since "$began") s]"
    else
        say "MISSED  $number $name ($text): $lives lives [$(seconds_since "$began") s]"
    fi
done < <("$sim" --list-bugs)
say "$found of $total found"
[ "$found" -eq "$total" ]
