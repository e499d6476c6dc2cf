#!/usr/bin/env bash
# Sweeps are JSON Lines or CSV, one record per solution, so that other tools can take them up.
set -euo pipefail

# Strength against gradient growth: gamma falls as epsilon grows.
snn solve --act lselu,sselu --epsilon 0.001:0.1:5:log --json |
    python3 -c '
import json, sys
for line in sys.stdin:
    r = json.loads(line)
    print("%s epsilon %.6f gamma %.6f" % (r["act"], r["epsilon"], r["gamma"]))
'

# The same as a spreadsheet.
snn solve --act lselu,sselu --epsilon 0.001:0.1:5:log --csv

# Which epsilon preserves the typical gradient, over fan-in.
snn solve --act lselu --epsilon auto --fanin 64,256,1024,4096 --csv
