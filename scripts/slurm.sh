#!/usr/bin/env bash
# lbnet in a Slurm allocation: a controller on the first node, a worker on every node, then your script.
#
#   sbatch --nodes=4 --ntasks-per-node=1 --cpus-per-task=16 scripts/slurm.sh my_script.py [ARGUMENTS]
#
# In the script, lbnet.Client() finds the cluster by itself: LBNET_ADDRESS says where it is.
# LBNET (the command), PYTHON and LBNET_PORT may be set; the port must be free on the first node. The journal is written
# to the folder from which you submitted, so that a job that Slurm starts again goes on. Workers leave before its end.
set -euo pipefail

if [ $# -lt 1 ]; then
    echo "usage: sbatch [OPTIONS] $0 SCRIPT.py [ARGUMENTS]" >&2
    exit 2
fi
if [ -z "${SLURM_JOB_NODELIST:-}" ]; then
    echo "$0: not inside of a Slurm allocation; submit it with sbatch" >&2
    exit 2
fi

lbnet=${LBNET:-lbnet}
read -r first < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
port=${LBNET_PORT:-7077}
export LBNET_ADDRESS="$first:$port"

# All of it runs under one account with one home: the others find the controller's token there.
srun --nodes=1 --ntasks=1 --overlap --nodelist="$first" "$lbnet" controller --host 0.0.0.0 \
    --port "$port" --state-dir "lbnet-${SLURM_JOB_ID:-$$}" &
controller=$!
trap 'kill "$controller" ${workers:-} 2>/dev/null || true; wait' EXIT

for _ in $(seq 100); do
    "$lbnet" status --json >/dev/null 2>&1 && break
    kill -0 "$controller"
    sleep 0.2
done
srun --overlap --cpu-bind=none "$lbnet" worker --connect "$LBNET_ADDRESS" &
workers=$!

"${PYTHON:-python3}" "$@"
