#!/bin/sh
# Runs every fuzzer of a build made with the preset "fuzz" and prints the branch coverage of the
# source file each one stands beside (x_fuzz.c: x.c). Fails when a fuzzer finds something, or a
# file stays below the limit.
#
#   tests/fuzz/coverage.sh BUILD_DIR [NAME...]
#
# NAME: only fuzzers whose target contains it. Environment:
#   RUNS      inputs per fuzzer (default 100000)
#   SECONDS_MAX  of one fuzzer, at most (default 60)
#   LIMIT     branch coverage in percent below which the script fails (default 90)
#   CORPUS    folder whose sub-folders, named like the targets, hold inputs to start from
#             (default tests/corpus/fuzz); it is only read
#   KEEP      folder in which grown corpora are kept from run to run (default: thrown away)
#
# A fuzzer that covers other files than its neighbour names them in a comment line of its own:
#   " * Covers: node/smtp/a.c node/smtp/b.c". A file x_fuzz.dict beside it is its dictionary.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
build=${1:?usage: coverage.sh BUILD_DIR [NAME...]}
build=$(cd "$build" && pwd)
shift
runs=${RUNS:-100000}
seconds=${SECONDS_MAX:-60}
limit=${LIMIT:-90}
corpus=${CORPUS:-$root/tests/corpus/fuzz}
work=$(mktemp -d "${TMPDIR:-/tmp}/trispool-fuzz.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
keep=${KEEP:-$work/corpora}
failed=0
ran=0

tool() { # tool NAME: plain, or the newest with a version at its end
    for candidate in "$1" $(ls /usr/bin/"$1"-[0-9]* 2>/dev/null | sort -rV); do
        if command -v "$candidate" >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
    echo "coverage.sh: $1 is missing: apt-get install llvm" >&2
    exit 2
}
profdata=$(tool llvm-profdata)
cov=$(tool llvm-cov)

wanted() { # wanted TARGET NAME...
    target=$1
    shift
    [ $# -eq 0 ] && return 0
    for name; do
        case $target in *"$name"*) return 0 ;; esac
    done
    return 1
}

run_fuzzer() { # run_fuzzer EXE TARGET DICT
    mkdir -p "$keep/$2" "$work/$2"
    set -- "$1" "$2" "$3" "$keep/$2"
    exe=$1 target=$2 dict=$3
    set -- "$4"
    [ -d "$corpus/$target" ] && set -- "$@" "$corpus/$target"
    [ -f "$dict" ] && set -- "-dict=$dict" "$@"
    (cd "$work/$target" && LLVM_PROFILE_FILE="$work/$target/raw.%p" "$exe" -seed=1 -runs="$runs" \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 "$@") \
        >"$work/$target/log" 2>&1
}

# Lines "hit found file" of the files that the fuzzer answers for. A condition of an ASSERT is left
# out: nothing that comes from outside may make it false.
branches() { # branches EXE TARGET FILE...
    exe=$1 target=$2
    shift 2
    "$profdata" merge -sparse -o "$work/$target/data" "$work/$target"/raw.*
    "$cov" export -format=lcov -instr-profile="$work/$target/data" "$exe" >"$work/$target/lcov"
    for file; do
        awk -v file="/$file" '
            NR == FNR {
                if (/ASSERT\(/) asserting = 1
                skip[FNR] = asserting
                if (/;/) asserting = 0
                next
            }
            /^SF:/ { mine = substr($0, length($0) - length(file) + 1) == file }
            mine && /^BRDA:/ {
                split(substr($0, 6), branch, ",")
                if (skip[branch[1]]) next
                found++
                if (branch[4] != "-" && branch[4] > 0) hit++
            }
            END { print hit + 0, found + 0, substr(file, 2) }' "$root/$file" "$work/$target/lcov"
    done
}

printf '%-34s %10s %9s  %s\n' target inputs branches file
for source in $(cd "$root" && find . -name '*_fuzz.c' -not -path './build/*' | sort); do
    source=${source#./}
    folder=$(dirname "$source")
    stem=$(basename "$source" .c)
    exe=$(find "$build/$folder" -maxdepth 1 -type f -name "*_$stem" 2>/dev/null | head -n 1)
    target=$(basename "${exe:-$stem}")
    wanted "$target" "$@" || continue
    if [ -z "$exe" ]; then
        echo "$target: not built" >&2
        failed=1
        continue
    fi
    ran=$((ran + 1))
    if ! run_fuzzer "$exe" "$target" "$root/$folder/$stem.dict"; then
        tail -n 40 "$work/$target/log"
        echo "$target: FAILED" >&2
        failed=1
        continue
    fi
    inputs=$(awk '/number_of_executed_units/ { print $2 }' "$work/$target/log")
    covers=$(sed -n '/^ \* Covers: /{s/^ \* Covers: *//;s, *\*/$,,;p}' "$root/$source")
    branches "$exe" "$target" ${covers:-${source%_fuzz.c}.c} >"$work/$target/branches"
    while read -r hit found file; do
        percent=$((found > 0 ? hit * 100 / found : 0))
        verdict=
        if [ "$percent" -lt "$limit" ]; then
            verdict="  below $limit %"
            failed=1
        fi
        printf '%-34s %10s %4d/%-4d %3d %% %s%s\n' "$target" "$inputs" "$hit" "$found" "$percent" \
            "$file" "$verdict"
    done <"$work/$target/branches"
done
if [ "$ran" -eq 0 ]; then
    echo "coverage.sh: no fuzzer matches" >&2
    failed=1
fi
exit "$failed"
