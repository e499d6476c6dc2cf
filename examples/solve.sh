#!/usr/bin/env bash
# A tour of `snn solve`: every command runs as it stands.
set -euo pipefail

# The activation for a given backward gain, as a table.
snn solve --act lselu --epsilon 0.03

# For a network of 100 layers: epsilon = 1/100, so the expected squared gradient norm grows by less than e.
snn solve --act sselu --depth 100

# For fan-in 1024: the typical gradient is preserved.
snn solve --act lselu --epsilon auto --fanin 1024

# Fifty digits; more are as easy.
snn solve --act sselu --epsilon 0.03 --digits 50

# Other ways to close the one degree of freedom that is left.
snn solve --act lselu --epsilon 0.03 --zero-mean --json
snn solve --act lselu --epsilon 0.03 --lambda 1.1 --json
snn solve --act sselu --epsilon 0.03 --lambda-min 0.9 --json
