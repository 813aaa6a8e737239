#!/usr/bin/env bash
# The paper's Table 2 as one loop: two rhythm encoders, genre by label or by ear, and what each adds to the other.
#
#   examples/ablations.sh DANCES OUT [--clap CLAP_FOLDER] [-- options of d2m train]
#   examples/ablations.sh AIST++ ablations -- --backbone riffusion --preset paper-riffusion
#
# Trains one set of encoders for each line, into OUT/NAME; stop it and start it again as you like. Without a folder of a
# CLAP model the lines that need one are left out. At the end it prints the validation losses.
set -uo pipefail

if [[ $# -lt 2 ]]; then
    sed -n '4,5p' "$0" >&2
    exit 2
fi
dances=$1 out=$2
shift 2
clap=
if [[ ${1-} == --clap ]]; then
    clap=${2:?name the folder of the CLAP model behind --clap}
    shift 2
fi
[[ ${1-} == -- ]] && shift

worst=0
for rhythm in constant mlp attn-pos; do
    for genre in none label clap; do
        [[ $genre == clap && -z $clap ]] && continue
        extra=()
        [[ $genre == clap ]] && extra=(--clap "$clap")
        echo "== $rhythm-$genre" >&2
        # All share one cache: targets and rhythms are computed once.
        d2m train "$dances" --out "$out/$rhythm-$genre" --cache "$out/cache" \
            --rhythm-encoder "$rhythm" --genre-encoder "$genre" "${extra[@]}" "$@" || worst=$?
        [[ $worst == 130 ]] && exit 130
    done
done

echo "name,validation_loss"
for folder in "$out"/*/; do
    table=$folder/epochs.csv
    [[ -f $table ]] || continue
    # The smallest of the column: the encoders that were kept.
    best=$(awk -F, 'NR > 2 && (best == "" || $4 < best) { best = $4 } END { print best }' "$table")
    echo "$(basename "$folder"),$best"
done
exit "$worst"
