#!/usr/bin/env bash
# Real data: what the activation and what is done besides are worth, seed by seed; interrupted and gone on.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# a checkpoint after every epoch ...
snn train --act relu+bn,lselu --depth 16 --width 32 --epochs 1 --lr 0.01 --checkpoint "$work/runs"

# ... to which seeds and variants can be added: what is finished is not run again
snn train --act relu+bn,lselu,lselu+centralize --depth 16 --width 32 --epochs 1 --lr 0.01 --seeds 3 \
  --resume "$work/runs" --metrics "$work/epochs.jsonl" --json | cut -c1-120
tail -n 1 "$work/epochs.jsonl"
