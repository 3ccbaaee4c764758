#!/bin/bash
# A run on several machines under Slurm: a Ray node on each, and the driver beside the first.
#
#     sbatch --nodes=4 cluster/slurm.sh --environment AntBulletEnv-v0 --popsize 500 --seed 1
#     sbatch --nodes=4 cluster/slurm.sh --resume heb_coeffs/RUN_ID
#
# Submit it from the root of the project, on a file system that all machines see, with the virtual
# environment active. A minute before its time is over the run is told to stop, and says in
# slurm-JOB.out how to go on.
#SBATCH --job-name=hebb
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@60
set -euo pipefail

RAY_AUTH_TOKEN=$(python -c "import secrets; print(secrets.token_hex(32))")
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN RAY_USAGE_STATS_ENABLED=0 # srun hands them on
export OMP_NUM_THREADS=1

mapfile -t machines < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=$(srun --nodes=1 --ntasks=1 -w "${machines[0]}" hostname --ip-address | awk '{print $1}')
port=$((20000 + SLURM_JOB_ID % 10000)) # two jobs may share a machine
cores=${SLURM_CPUS_ON_NODE:-$(nproc)}

start_node() { # machine, arguments of ray start
    local machine=$1
    shift
    srun --nodes=1 --ntasks=1 --overlap -w "$machine" \
        ray start --block --num-cpus="$cores" --object-store-memory=200000000 "$@" &
}

trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT
start_node "${machines[0]}" --head --node-ip-address="$head" --port="$port" \
    --include-dashboard=false
until python -c "import socket; socket.create_connection(('$head', $port), 1)" 2>/dev/null; do
    sleep 1
done
for machine in "${machines[@]:1}"; do
    start_node "$machine" --address="$head:$port"
done

# The driver is not srun's, so that it may connect to the Ray node beside it.
python train_hebb.py --engine ray --ray_address "$head:$port" "$@" &
driver=$!
trap 'kill -TERM $driver' TERM
wait $driver || wait $driver # the first ends when the signal arrives
