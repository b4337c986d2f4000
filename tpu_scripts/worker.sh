#!/usr/bin/env bash
# The commands that tpu.sh runs on a worker of a slice, in the checkout that it copied; each may be repeated.
#
#   worker.sh setup LANGUAGES WEIGHTS IMAGE JULIA    installs what is missing and checks it; JULIA: URL of a tar.gz, or ""
#   worker.sh start RUN IMAGE -- COMMAND...    starts the command unless it runs; its output goes to ~/azr_jax_runs/RUN/log
#   worker.sh status RUN                       one line: running | exit STATUS | not started
#   worker.sh logs RUN LINES [follow]
#   worker.sh stop RUN IMAGE                   asks the run to save and end, and kills it after 10 minutes
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
stamp=.setup/worker-complete

say() { printf '%s: %s\n' "$(hostname)" "$*" >&2; }

as_root() { if [[ $EUID -eq 0 ]]; then "$@"; else sudo -n -- "$@"; fi; }

# The TPU needs the host's devices and network, the sandbox the right to make namespaces. A preempted machine stops its
# containers: 60 seconds for the save, instead of docker's 10.
in_image() {
  as_root docker run --rm --privileged --net=host --stop-timeout 60 --name "$1" -v "$PWD/weights:/azr_jax/weights" \
    --env "JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR-/azr_jax/weights/compiled}" "${@:2}"
}

# Keeps compiled programs in the run's bucket, beyond the slice; without a bucket they are in the user's cache.
keep_compiled_programs() {
  local word
  for word in "$@"; do
    [[ $word == --workdir=gs://*/* && -z ${JAX_COMPILATION_CACHE_DIR+set} ]] || continue
    word="${word#--workdir=}"
    export JAX_COMPILATION_CACHE_DIR="${word%/*}/compiled"
  done
}

fetch_weights() {
  local source="$1" folder
  folder="weights/$(basename "$source")"
  [[ -n $source && ! -f $folder/.complete ]] || return 0
  mkdir -p "$folder"
  say "fetching $source"
  case "$source" in
    gs://*) gcloud storage rsync --recursive "$source" "$folder" ;;
    *) [[ -x .venv/bin/hf ]] || { say "WEIGHTS=$source with IMAGE: copy the weights to a bucket and name gs://..."; exit 1; }
      .venv/bin/hf download "$source" --local-dir "$folder" ;;
  esac
  touch "$folder/.complete"
}

setup() {
  local languages="$1" weights="$2" image="$3" julia="${4:-}" wanted
  wanted="$(cat .source-version) $languages $weights $image $julia"
  if [[ -f $stamp && $(<"$stamp") == "$wanted" ]]; then say "set up already"; return; fi
  mkdir -p .setup weights
  if [[ -n $image ]]; then
    as_root docker pull --quiet "$image" >/dev/null
    fetch_weights "$weights"
    # shellcheck disable=SC2086  # a list of words
    in_image azr_jax_check "$image" python -m executors doctor $languages
  else
    if ! command -v python3.11 python3.12 python3.13 >/dev/null; then
      as_root apt-get update -qq
      as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3.11 python3.11-venv >/dev/null
    fi
    tpu_scripts/setup_python.sh tpu
    [[ -z $julia ]] || tpu_scripts/install_julia.sh "$julia"
    # shellcheck disable=SC2086  # a list of words
    tpu_scripts/install_interpreters.sh $languages
    fetch_weights "$weights"
    # shellcheck disable=SC2086
    .venv/bin/python -m executors doctor $languages
  fi
  printf '%s\n' "$wanted" >"$stamp"
  say "set up"
}

# Whether the run has no exit status and its process exists: not as a zombie (state Z), and not as another process that
# has its number after a reboot.
is_running() {
  local process
  [[ -f $1/pid && ! -f $1/exit ]] && process="$(ps -ww -o stat=,args= -p "$(<"$1/pid")")" &&
    [[ $process != Z* && $process == *" run $1 "* ]]
}

start() {
  local run="$1" image="$2" folder="$HOME/azr_jax_runs/$1"
  shift 3
  if is_running "$folder"; then say "runs already"; return; fi
  [[ -f $stamp ]] || { say "not set up: run tpu.sh setup first"; exit 1; }
  mkdir -p "$folder"
  rm -f "$folder/exit"
  keep_compiled_programs "$@"
  if [[ -n $image ]]; then
    as_root docker rm --force "azr_jax_$run" >/dev/null 2>&1 || true
    set -- "$0" in_image "azr_jax_$run" "$image" "$@"
  fi
  # The status is written under another name and renamed: a reader sees all of it or none.
  # shellcheck disable=SC2016  # the inner shell expands
  setsid nohup bash -c '"${@:2}"; echo $? >"$1/exit.new"; mv "$1/exit.new" "$1/exit"' run "$folder" "$@" \
    >>"$folder/log" 2>&1 </dev/null &
  echo $! >"$folder/pid"
  say "started"
}

status() {
  local folder="$HOME/azr_jax_runs/$1"
  if [[ -f $folder/exit ]]; then
    echo "exit $(<"$folder/exit")"
  elif is_running "$folder"; then
    echo running
  elif [[ -f $folder/pid ]]; then
    echo "exit 137"
  else
    echo "not started"
  fi
}

stop() {
  local run="$1" image="$2" folder="$HOME/azr_jax_runs/$1" waited
  is_running "$folder" || { say "not running"; return; }
  if [[ -n $image ]]; then
    as_root docker kill --signal=TERM "azr_jax_$run" >/dev/null
  else
    pkill -TERM -P "$(<"$folder/pid")" || true
  fi
  for ((waited = 0; waited < 5 * ${AZR_JAX_STOP_SECONDS:-600}; waited++)); do
    is_running "$folder" || { say "stopped"; return; }
    sleep 0.2
  done
  [[ -z $image ]] || as_root docker rm --force "azr_jax_$run" >/dev/null 2>&1 || true
  kill -KILL -- "-$(<"$folder/pid")" 2>/dev/null || true
  say "killed: it did not end by itself"
}

logs() { tail -n "$2" ${3:+-F} "$HOME/azr_jax_runs/$1/log"; }

case "${1:-}" in
  setup | start | status | logs | stop | in_image) "$@" ;;
  *) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
