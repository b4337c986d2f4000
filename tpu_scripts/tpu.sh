#!/usr/bin/env bash
# A run on a Cloud TPU slice, from its creation to the results; see docs/tpu.md.
#
#   tpu_scripts/tpu.sh [--config FILE] [--set KEY=VALUE]... [--dry-run] COMMAND
#
#   create          ask for the slice and wait until it is ready
#   setup           copy this checkout's HEAD to every worker, install and check
#   launch          start the run on every worker; a worker that runs it is left alone
#   run             all three, then watch: recreate the slice after a preemption, restart after a failure, until
#                   the run has finished
#   status          the slice, the run on each worker, the newest save
#   logs [N] [-f]   the last lines of worker N (0)
#   stop            ask the run to save and end; the slice stays
#   fetch [FOLDER]  the run without its checkpoints, from the bucket to runs/RUN
#   delete          the slice; the bucket and the run in it stay
#
# Every command may be repeated: it does what is still to be done. --dry-run prints the commands and runs none.
set -euo pipefail
shopt -s inherit_errexit
folder="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
repository="$(dirname "$folder")"
# shellcheck source-path=SCRIPTDIR source=configuration.sh
source "$folder/configuration.sh"

trap 'rm -f "$errors" "$errors.describe"' EXIT

is_queued() { [[ $PROVISIONING == queued* ]]; }

# The slice.

create_command() {
  local words=(gcloud compute tpus) extra=()
  read -ra extra <<<"$CREATE_FLAGS"
  if is_queued; then
    words+=(queued-resources create "$NAME" "--node-id=$NAME" "--runtime-version=$RUNTIME_VERSION")
  else
    words+=(tpu-vm create "$NAME" "--version=$RUNTIME_VERSION")
  fi
  words+=("--project=$PROJECT" "--zone=$ZONE" "--accelerator-type=$ACCELERATOR_TYPE")
  [[ $PROVISIONING != *spot ]] || words+=(--spot)
  command=("${words[@]}" "${extra[@]}")
}

delete_command() {
  if is_queued; then
    command=(gcloud compute tpus queued-resources delete "$NAME" "--project=$PROJECT" "--zone=$ZONE" --force --quiet)
  else
    command=(gcloud compute tpus tpu-vm delete "$NAME" "--project=$PROJECT" "--zone=$ZONE" --quiet)
  fi
}

describe() { state_of gcloud compute tpus "$1" describe "$NAME" "--project=$PROJECT" "--zone=$ZONE" "--format=value($2)"; }

# READY | STOPPED | NOT_FOUND | GONE (to be deleted before it is created again) | any other state: wait
slice_state() {
  local request="" node
  if is_queued; then
    request="$(describe queued-resources state.state)"
    case "$request" in
      NOT_FOUND) echo NOT_FOUND; return ;;
      FAILED | SUSPENDED) echo GONE; return ;;
      ACTIVE) ;;
      *) echo "$request"; return ;;
    esac
  fi
  node="$(describe tpu-vm state)"
  case "$node" in
    PREEMPTED | TERMINATED | FAILED) echo GONE ;;
    NOT_FOUND) if [[ -n $request ]]; then echo GONE; else echo NOT_FOUND; fi ;;
    *) echo "$node" ;;
  esac
}

delete() {
  local state=unknown
  [[ -n $DRY_RUN ]] || state="$(slice_state)"
  if [[ $state == NOT_FOUND ]]; then say "there is no $NAME in $ZONE"; return; fi
  delete_command
  must "${command[@]}"
}

create() {
  local state=NOT_FOUND last=""
  while true; do
    [[ -n $DRY_RUN ]] || state="$(slice_state)"
    [[ $state == "$last" || -n $DRY_RUN ]] || say "$NAME: $state"
    last="$state"
    case "$state" in
      READY) return ;;
      STOPPED) must gcloud compute tpus tpu-vm start "$NAME" "--project=$PROJECT" "--zone=$ZONE" ;;
      GONE) delete_command; must "${command[@]}" ;;
      NOT_FOUND)
        create_command
        ask_for_slice "${command[@]}"
        [[ -z $DRY_RUN ]] || return 0
        ;;
      *) sleep "$POLL_SECONDS" ;;
    esac
  done
}

# Under `run`, a zone without free chips is no error: ask again.
ask_for_slice() {
  attempt "$@" && return
  if [[ -n ${patient:-} ]] && grep -qE 'no more capacity|stockout|RESOURCE_EXHAUSTED' "$errors" && ! grep -qi quota "$errors"; then
    say "no chips are free in $ZONE, asking again in ${POLL_SECONDS}s"
    sleep "$POLL_SECONDS"
  elif grep -q ALREADY_EXISTS "$errors"; then
    say "$NAME is being made already"
  else
    die "$(quoted "$@") failed: $(advice "$errors")"
  fi
}

# The workers.

on_workers() {
  # --quiet: the first use on a machine makes a key and would ask for a passphrase.
  command=(gcloud compute tpus tpu-vm ssh "$NAME" "--project=$PROJECT" "--zone=$ZONE" --quiet "--worker=$1" "--command=$2")
}

worker_words() { echo "cd azr_jax && tpu_scripts/worker.sh $(quoted "$@")"; }

setup() {
  local version archive
  version="$(git -C "$repository" rev-parse HEAD)"
  archive="${TMPDIR:-/tmp}/azr_jax-$version.tar.gz"
  git -C "$repository" diff --quiet HEAD -- || say "changes that are not committed are not copied to the workers"
  must git -C "$repository" archive --format=tar.gz "--output=$archive" HEAD
  must gcloud compute tpus tpu-vm scp "$archive" "$NAME:azr_jax.tar.gz" "--project=$PROJECT" "--zone=$ZONE" --quiet --worker=all
  on_workers all "mkdir -p azr_jax && tar -xzf azr_jax.tar.gz -C azr_jax && echo $version > azr_jax/.source-version \
&& $(worker_words setup "$LANGUAGES" "$WEIGHTS" "$IMAGE" "$JULIA")"
  must "${command[@]}"
}

launch() {
  local python=.venv/bin/python flags=()
  [[ -z $IMAGE ]] || python=python
  read -ra flags <<<"$RUN_FLAGS"
  on_workers all "$(worker_words start "$RUN" "$IMAGE" -- \
    "$python" -m azr_jax.main "--config=$CONFIG" "--workdir=$WORKDIR" "${flags[@]}")"
  must "${command[@]}"
}

run_status() { on_workers all "$(worker_words status "$RUN")"; attempt "${command[@]}"; }

# The report is the last thing that a run writes; RUN_FLAGS may ask a run that ended for more steps.
is_finished() {
  local wanted had
  attempt gcloud storage ls "$WORKDIR/report.html" >/dev/null 2>&1 || return 1
  wanted="$(sed -nE 's/.*--config\.steps[= ]([0-9]+).*/\1/p' <<<"$RUN_FLAGS")"
  [[ -n $wanted ]] || return 0
  had="$({ attempt gcloud storage cat "$WORKDIR/summary.json" 2>/dev/null || true; } | sed -nE 's/^ *"steps": *([0-9]+).*/\1/p')"
  [[ ${had:-0} -ge $wanted ]]
}

# This object is written last: an incomplete save has none.
list_saves() { attempt gcloud storage ls "$WORKDIR/checkpoints/*/commit_success.txt"; }

newest_save() {
  { list_saves 2>/dev/null || true; } | sed -nE 's#.*/([0-9]+)/commit_success.txt$#\1#p' | sort -n | tail -n 1
}

# Watching.

run() {
  local patient=yes states failures=0 save last_save=none
  if [[ -n $DRY_RUN ]]; then create; setup; launch; return; fi
  while ! is_finished; do
    create
    if attempt_run; then
      failures=0
    else
      # A lost slice is no failure of the run.
      [[ $(slice_state) == READY ]] || continue
      save="$(newest_save)"
      if [[ $save != "$last_save" ]]; then failures=0; fi
      last_save="$save"
      failures=$((failures + 1))
      if [[ $failures -gt $MAX_RESTARTS ]]; then
        logs 0 || true
        die "the run ended $failures times without a further save; its last lines are above"
      fi
      say "starting again from save ${save:-none} ($failures of $MAX_RESTARTS)"
    fi
  done
  say "finished: tpu.sh fetch brings the results, tpu.sh delete gives the slice back"
}

# Sets up, starts, and returns when the run ends: 0 when it has finished, 1 when it failed or the slice was lost.
attempt_run() {
  (setup && launch) || return 1
  while true; do
    sleep "$POLL_SECONDS"
    if is_finished; then return 0; fi
    if ! states="$(run_status)"; then
      [[ $(slice_state) == READY ]] || { say "the slice is gone"; return 1; }
      say "the workers do not answer"
      return 1
    fi
    if grep -q '^exit' <<<"$states"; then
      is_finished && return 0
      say "the run ended: $(sort <<<"$states" | uniq -c | tr -s ' \n' ' ')"
      # The other workers wait for the one that ended.
      on_workers all "$(worker_words stop "$RUN" "$IMAGE")"
      attempt "${command[@]}" || true
      return 1
    fi
    if grep -q '^not started' <<<"$states"; then return 1; fi
  done
}

# Commands for the user.

status() {
  if [[ -z $DRY_RUN ]]; then
    local state
    state="$(slice_state)"
    echo "slice $NAME ($ACCELERATOR_TYPE, $ZONE): $state"
    [[ $state != READY ]] || run_status | sed "s/^/run $RUN: /"
    if is_finished; then echo "finished: $WORKDIR"; else echo "newest save: $(newest_save || true)"; fi
  else
    run_status
    list_saves
  fi
}

logs() {
  local worker=0 follow=""
  while [[ $# -gt 0 ]]; do
    case "$1" in
      -f) follow=follow ;;
      *[!0-9]*) die "logs: '$1' is neither a worker's number nor -f" ;;
      *) worker="$1" ;;
    esac
    shift
  done
  on_workers "$worker" "$(worker_words logs "$RUN" 100 ${follow:+"$follow"})"
  must "${command[@]}"
}

stop() { on_workers all "$(worker_words stop "$RUN" "$IMAGE")"; must "${command[@]}"; }

fetch() {
  local to="${1:-runs/$RUN}"
  [[ -n $DRY_RUN ]] || mkdir -p "$to"
  must gcloud storage rsync --recursive '--exclude=^checkpoints/.*' "$WORKDIR" "$to"
  [[ -n $DRY_RUN ]] || say "fetched $WORKDIR to $to"
}

usage() { sed -n '2,19s/^# \{0,1\}//p' "$0"; }

main() {
  local file="$folder/tpu.conf" settings=() setting
  while [[ ${1:-} == --* ]]; do
    case "$1" in
      --config) [[ $# -ge 2 ]] || die "--config: name a file"; file="$2"; shift 2 ;;
      --config=*) file="${1#*=}"; shift ;;
      --set) [[ ${2:-} == *=* ]] || die "--set: KEY=VALUE is missing"; settings+=("$2"); shift 2 ;;
      --dry-run) DRY_RUN=yes; shift ;;
      --help) usage; exit ;;
      *) die "unknown option $1; see tpu_scripts/tpu.sh --help" ;;
    esac
  done
  case "${1:-}" in
    create | setup | launch | run | status | logs | stop | fetch | delete) ;;
    "") usage >&2; exit 2 ;;
    *) die "unknown command '$1'; see tpu_scripts/tpu.sh --help" ;;
  esac
  read_configuration "$file"
  for setting in ${settings[@]+"${settings[@]}"}; do set_key "${setting%%=*}" "${setting#*=}" --set; done
  check_configuration
  [[ -n $DRY_RUN ]] || command -v gcloud >/dev/null || die "no gcloud on PATH: install the Google Cloud CLI"
  "$@"
}

main "$@"
