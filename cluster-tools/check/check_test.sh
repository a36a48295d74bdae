#!/bin/sh
# The exit statuses of trispool-check that need no spool. What it finds in one is proved in
# spool/spool_check_test.c.
set -u
program=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
bad=0

expect() {
    want=$1
    shift
    "$program" "$@" >"$dir/out" 2>"$dir/err"
    got=$?
    if [ "$got" -ne "$want" ]; then
        echo "trispool-check $*: $got instead of $want"
        cat "$dir/err"
        bad=1
    fi
}

expect 64
expect 64 --no-such-option
expect 64 "$dir" "$dir"
expect 0 --version
expect 78 "$dir"
expect 78 "$dir/nothing"
mkdir "$dir/data"
expect 78 "$dir"
echo rubbish >"$dir/data/data.mdb"
expect 78 --json "$dir"
grep -q 'not a spool' "$dir/err" || { echo "no reason given"; bad=1; }
exit $bad
