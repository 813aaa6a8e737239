#!/usr/bin/env bash
# Music for a large collection as a Slurm array job; each task takes a share of the videos.
#
#   COLLECTION=/data/dances OUT=/data/music sbatch --array=0-15 examples/slurm_array.sh --genre house
#   d2m status /data/music
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
share=$((${SLURM_ARRAY_TASK_ID:-0} + 1))
shares=${SHARES:-$((${SLURM_ARRAY_TASK_MAX:-0} + 1))}

# What is in a share hangs on the names of the videos alone: it is the same in every task and on every day. At its time
# limit Slurm sends SIGTERM, at which d2m ends in order.
exec d2m generate "$collection" --out "$out" --shard "$share/$shares" "$@"
