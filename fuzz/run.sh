#!/usr/bin/env bash
# Fuzzes parsers for some seconds each: fuzz/run.sh SECONDS [PARSER…]; all of them where none is named.
# What one finds lies in fuzz/artifacts/PARSER afterwards, what it learned in fuzz/corpus/PARSER.
set -euo pipefail
cd "$(dirname "$0")"

seconds=${1:?"fuzz/run.sh SECONDS [PARSER…]"}
shift
# Sanitizers are nightly's; this lets the stable compiler have them too.
export RUSTC_BOOTSTRAP=1
export CARGO_TARGET_DIR="${FUZZ_TARGET_DIR:-$PWD/target}"
cargo fuzz build --fuzz-dir . parse
parse="$CARGO_TARGET_DIR/$(rustc -vV | sed -n 's/^host: //p')/release/parse"
if (($# == 0)); then
    # Without a name it says which there are.
    names=$("$parse" -runs=0 2>&1 | sed -n 's/.*must be one of //p' | head -1)
    read -ra parsers <<<"$names"
    set -- "${parsers[@]}"
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0
for parser in "$@"; do
    corpus="corpus/$parser"
    found="artifacts/$parser/"
    mkdir -p "$corpus" "$found"
    # A file that takes ten seconds, or a parser that takes more than 1 GiB for 64 KiB of it, is a finding too.
    if KINDLING_PARSER=$parser KINDLING_SEEDS=$corpus TMPDIR=$scratch RAYON_NUM_THREADS=1 \
        "$parse" "$corpus" -max_total_time="$seconds" -max_len=65536 -timeout=10 -rss_limit_mb=2048 \
        -malloc_limit_mb=1024 -artifact_prefix="$found" -print_final_stats=1 >"$scratch/log" 2>&1; then
        echo "$parser: nothing in $(sed -n 's/stat::number_of_executed_units: *//p' "$scratch/log") runs"
    else
        failed=1
        echo "$parser: FOUND, see $found"
        tail -40 "$scratch/log"
    fi
done
exit "$failed"
