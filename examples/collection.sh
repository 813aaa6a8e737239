#!/usr/bin/env bash
# Music for a collection of folders of dance videos; stop it and start it again as you like, what is done stays done.
#
#   examples/collection.sh OUT FOLDER [FOLDER ...] [-- options of d2m generate]
#   examples/collection.sh music rehearsals/ shows/2024 -- --genre house --prompt "warm analogue synths"
#
# Exit code: 0 all videos have music, 1 some failed (they are named on stderr and in OUT's ledger), 2 the command line is
# wrong, 130 interrupted.
set -uo pipefail

if [[ $# -lt 2 ]]; then
    sed -n '4,5p' "$0" >&2
    exit 2
fi

out=$1
shift
folders=()
while [[ $# -gt 0 && $1 != -- ]]; do
    folders+=("$1")
    shift
done
[[ ${1-} == -- ]] && shift

# One call for all folders: the networks are loaded once, and equal names in different folders are kept apart.
d2m generate "${folders[@]}" --out "$out" "$@"
code=$?

case $code in
    0) echo "all done: $out" >&2 ;;
    1) echo "some videos failed; mend or remove them and run the same line again, only they will be tried" >&2 ;;
    2) echo "nothing was made: see the message above" >&2 ;;
    130) echo "interrupted; run the same line again to go on" >&2 ;;
    *) echo "d2m ended with $code" >&2 ;;
esac
exit "$code"
