#!/usr/bin/env bash
# What a deep network of random weights does to signals and gradients, before anyone trains it.
set -euo pipefail

# Which activation survives 200 layers of fan-in 1024?
snn simulate --depth 200 --fanin 1024

# Solve, then propagate; records pipe.
snn solve --act sselu --epsilon 0.01 --json | snn simulate --params - --depth 200 --fanin 1024 --no-profile --json |
    python3 -c '
import json, sys
r = json.load(sys.stdin)
g = r["gradient"]
print("typical squared gradient x %.3f, one deviation over networks x %.3f" % (g["typical_factor"], 2.718281828 ** g["log_growth_sd"]))
'

# A real architecture, layer by layer.
snn simulate --act lselu --epsilon 0.03 --widths 784,1024x20,512x20,10 --csv | head -n 3

# Depth against fan-in as a spreadsheet.
snn simulate --act selu,lselu,sselu --depth 10:1000:4 --fanin 64,1024 --no-profile --csv | cut -d, -f1-4,34-36

# A check for a script: exit code 1 when the typical gradient leaves the budget.
if snn simulate --act selu --depth 100 --fanin 1024 --max-growth 100 --no-profile; then
    echo "selu stays inside a factor of 100"
else
    echo "selu leaves the factor of 100"
fi

# Weights with a common mean, and the remedy.
snn simulate --act lselu --epsilon 0.03 --fanin 1024 --depth 30 --weight-mean 0.02 --no-profile
snn simulate --act lselu --epsilon 0.03 --fanin 1024 --depth 30 --weight-mean 0.02 --centralize --no-profile
