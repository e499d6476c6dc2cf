#!/usr/bin/env bash
# A proof of existence and uniqueness in ball arithmetic. Needs: pip install 'snn-cli[certify]'
set -euo pipefail

snn solve --act lselu --epsilon 0.03 --certify
snn solve --act sselu --epsilon auto --fanin 256 --certify --json
