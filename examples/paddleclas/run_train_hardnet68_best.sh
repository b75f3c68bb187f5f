#!/usr/bin/env bash
# Train HarDNet68 on ImageNet as the paper's authors do, on four GPUs. More arguments are passed on.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec python -m paddle.distributed.launch --gpus="0,1,2,3" \
    tools/train.py -c ./configs/HarDNet/HarDNet68_best_v2.yaml "$@"
