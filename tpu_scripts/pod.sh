#!/usr/bin/env bash
# A run as a container's first process: pod.sh WORKDIR FLAGS... Ends with 0 only when the run has finished.
#
# A run that a notice of preemption ended has saved and ended with 0, which Kubernetes would take for its completion.
set -uo pipefail
workdir="$1"
shift
python -m azr_jax.main "--workdir=$workdir" "$@" &
child=$!
trap 'kill -TERM "$child" 2>/dev/null' TERM INT
# `wait` ends early at a signal.
while wait "$child"; status=$?; kill -0 "$child" 2>/dev/null; do :; done
[[ $status -eq 0 ]] || exit "$status"
exec python -m azr_jax.status --finished "$workdir"
