#!/usr/bin/env bash
# A run as a container's first process: pod.sh WORKDIR FLAGS... Ends with 0 only when the run has finished.
#
# After a preemption notice the run saves and exits with 0, which Kubernetes would take for completion.
set -uo pipefail
workdir="${1%/}"
shift
# Compiled programs outlive the pod: beside the run in its bucket, or on its disk.
parent="${workdir%/*}"
[[ $workdir == gs://* && $workdir != gs://*/* ]] && parent="$workdir" # the bucket itself
[[ $workdir != */* ]] && parent=.
export JAX_COMPILATION_CACHE_DIR="${JAX_COMPILATION_CACHE_DIR-$parent/compiled}"
python -m azr_jax.main "--workdir=$workdir" "$@" &
child=$!
trap 'signalled=yes; kill -TERM "$child" 2>/dev/null' TERM INT
# A signal ends `wait` early with another status: wait again for the child's.
signalled=yes
while [[ -n $signalled ]]; do
  signalled=""
  wait "$child"
  status=$?
done
[[ $status -eq 0 ]] || exit "$status"
exec python -m azr_jax.status --finished "$workdir"
