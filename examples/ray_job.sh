#!/usr/bin/env bash
# Music for a large collection on a Ray cluster, folder by folder; stop it and start it again as you like.
#
#   COLLECTION=/shared/dances OUT=/shared/music bash examples/ray_job.sh --genre house
#   ray job submit --working-dir examples -- \
#       env COLLECTION=/shared/dances OUT=/shared/music bash ray_job.sh --genre house
#
# Each folder of the collection has results and a ledger of its own, so that no run holds all names in memory. All nodes
# see the videos under the same path; the results need only be seen by the node that this runs on. What follows the
# script's name goes to d2m generate. d2m finds the cluster by RAY_ADDRESS, which Ray sets for a job.
# Exit code: 0 all videos have music, 1 some failed, 2 the command line is wrong, 130 interrupted.
set -euo pipefail

collection=${COLLECTION:?name the folder of the folders of videos in COLLECTION}
out=${OUT:?name the folder for the music in OUT}

exec d2m generate "$collection" --out "$out" --by-folder --engine ray "$@" < /dev/null
