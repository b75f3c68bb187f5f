#!/usr/bin/env bash
# Evaluate the model that run_train_hardnet68_best.sh has trained. More arguments are passed on.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec python tools/eval.py -c ./configs/HarDNet/HarDNet68_best_v2.yaml \
    -o pretrained_model='output/HarDNet68_v2/HarDNet68/best_model/ppcls' \
    -o load_static_weights=False "$@"
