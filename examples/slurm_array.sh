#!/usr/bin/env bash
# Music for a large collection as a Slurm array job; each task takes a share of the videos.
#
#   COLLECTION=/data/dances OUT=/data/music sbatch --array=0-15 examples/slurm_array.sh --genre house
#
# The array counts from 0. What follows the script's name goes to d2m generate. Run the same line again to do what is
# missing; to run some tasks of it alone, say of how many: SHARES=16 sbatch --array=3,7.
#SBATCH --job-name=d2m
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=4
#SBATCH --mem=24G
#SBATCH --time=12:00:00
#SBATCH --output=d2m-%A_%a.log
set -uo pipefail

collection=${COLLECTION:?name the folder of the videos in COLLECTION}
out=${OUT:?name the folder for the music in OUT}
share=${SLURM_ARRAY_TASK_ID:-0}
shares=${SHARES:-$((${SLURM_ARRAY_TASK_MAX:-0} + 1))}

cd "$collection" || exit 2
case $out in /*) ;; *) echo "OUT must be an absolute path" >&2; exit 2 ;; esac

# The share of a video is a checksum of its path without the suffix: it is the same in every task and on every day, and
# clip.mp4 and clip.mov, whose results lie side by side, come to the same task.
declare -A names
while IFS= read -r -d '' video; do
    sum=$(printf '%s' "${video%.*}" | cksum)
    if (( ${sum%% *} % shares == share )); then
        names[$(dirname "$video")]+="$video"$'\n'
    fi
done < <(find . -type f \( -iname '*.mp4' -o -iname '*.mov' -o -iname '*.mkv' -o -iname '*.avi' -o -iname '*.webm' \) \
    -not -path '*/.*/*' -print0 | sort -z)

worst=0
for folder in "${!names[@]}"; do
    mapfile -t videos < <(printf '%s' "${names[$folder]}")
    # One call a folder, for results that lie as the videos do.
    d2m generate "${videos[@]}" --out "$out/$folder" "$@"
    code=$?
    (( code == 130 )) && exit 130
    (( code > worst )) && worst=$code
done
exit "$worst"
