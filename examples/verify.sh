#!/usr/bin/env bash
# What is solved, held against real networks; and a model of one's own, layer by layer.
set -euo pipefail
cd "$(dirname "$0")"

# SELU grows gradients: agreement with theory, and a budget that it leaves (exit code 1)
snn verify --act selu --depth 40 --fanin 64 --batch 8 --trials 16 --max-growth 3 --no-profile || [ $? = 1 ]

# the same budget with an epsilon for this fan-in
snn solve --act sselu --epsilon auto --fanin 64 --json \
  | snn verify --params - --depth 40 --batch 8 --trials 16 --max-growth 10 --no-profile

# torch's own initialization, what is wrong with it, and the mended model
snn verify --model own_model:make_net --input 64 --max-growth 10 || [ $? = 1 ]
snn verify --model own_model:make_mended --input 64 --max-growth 10
snn simulate --model own_model:make_mended --input 64

# convolutions, and a mean in the weights that centralization takes out again
snn verify --architecture conv --channels 32 --image 8 --depth 20 --trials 8 --no-profile
snn verify --weight-mean 0.05 --fanin 1024 --depth 20 --trials 8 --centralize --no-profile
