# shellcheck shell=bash
# Reads and checks the variables of tpu.conf, and calls gcloud for tpu.sh, which sources this file.

KEYS="PROJECT ZONE BUCKET NAME ACCELERATOR_TYPE RUNTIME_VERSION PROVISIONING CREATE_FLAGS RUN CONFIG RUN_FLAGS WEIGHTS
LANGUAGES JULIA IMAGE POLL_SECONDS RETRY_SECONDS MAX_RESTARTS"
OPTIONAL_KEYS="CREATE_FLAGS RUN_FLAGS WEIGHTS LANGUAGES JULIA IMAGE"
ATTEMPTS=5
DRY_RUN=""
# stderr of the last command.
errors="$(mktemp)"

say() { printf 'tpu: %s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

has_word() { [[ " ${2//$'\n'/ } " == *" $1 "* ]]; }

# set_key KEY VALUE PLACE
set_key() {
  has_word "$1" "$KEYS" || die "$3: unknown variable '$1'; use one of ${KEYS//$'\n'/ }"
  printf -v "$1" '%s' "$2"
}

# Reads KEY=VALUE lines; the file is data and is never run.
read_configuration() {
  local file="$1" line number=0
  [[ -r $file ]] || die "--config $file: can't be read; copy tpu_scripts/tpu.conf and fill it in"
  while IFS= read -r line || [[ -n $line ]]; do
    number=$((number + 1))
    [[ $line =~ ^[[:space:]]*(#|$) ]] && continue
    [[ $line =~ ^([A-Z_]+)=(.*)$ ]] || die "$file, line $number: not KEY=VALUE: $line"
    set_key "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]%"${BASH_REMATCH[2]##*[![:space:]]}"}" "$file, line $number"
  done <"$file"
}

check_configuration() {
  local key
  for key in $KEYS; do
    [[ -n ${!key+set} ]] || printf -v "$key" '%s' ""
    [[ -n ${!key} ]] || has_word "$key" "$OPTIONAL_KEYS" || die "$key is empty: set it in the --config file"
  done
  for key in NAME RUN; do
    [[ ${!key} =~ ^[a-z]([-a-z0-9]{0,60}[a-z0-9])?$ ]] ||
      die "$key=${!key}: use small letters, digits and hyphens, beginning with a letter"
  done
  for key in POLL_SECONDS RETRY_SECONDS MAX_RESTARTS; do
    [[ ${!key} =~ ^[0-9]+$ ]] || die "$key=${!key}: must be a whole number"
  done
  [[ $BUCKET =~ ^[a-z0-9][-a-z0-9_.]+$ ]] || die "BUCKET=$BUCKET: name the bucket alone, without gs:// and folders"
  has_word "$PROVISIONING" "on-demand spot queued queued-spot" ||
    die "PROVISIONING=$PROVISIONING: use on-demand, spot, queued or queued-spot"
  # shellcheck disable=SC2034  # tpu.sh reads it
  WORKDIR="gs://$BUCKET/$RUN"
}

# The words as one line that can be pasted into a shell.
quoted() {
  local word line=""
  for word in "$@"; do
    [[ $word =~ ^[A-Za-z0-9_./:=,@%+-]+$ ]] || word="'${word//\'/\'\\\'\'}'"
    line+="${line:+ }$word"
  done
  printf '%s\n' "$line"
}

is_transient() {
  grep -qE 'UNAVAILABLE|\bINTERNAL\b|ABORTED|DEADLINE_EXCEEDED|HttpError.*50[0-9]|[Cc]onnection (reset|refused|timed out|closed)|timed out|Temporary failure|Could not resolve|Broken pipe' "$1"
}

# What to do about an error of gcloud, one line.
advice() {
  case "$(<"$1")" in
    *PERMISSION_DENIED*) echo "give your account the role roles/tpu.admin (and roles/storage.admin) in $PROJECT, and enable tpu.googleapis.com" ;;
    *"gcloud auth login"* | *UNAUTHENTICATED*) echo "run: gcloud auth login" ;;
    *[Qq]"uota"*) echo "ask for quota of $ACCELERATOR_TYPE in $ZONE, or choose another ZONE or ACCELERATOR_TYPE" ;;
    *"no more capacity"* | *RESOURCE_EXHAUSTED* | *"stockout"*) echo "no chips are free in $ZONE: use PROVISIONING=queued-spot or queued, or another ZONE" ;;
    *NOT_FOUND*) echo "nothing of this name in $PROJECT, $ZONE: run the create command first, or correct NAME and ZONE" ;;
    *INVALID_ARGUMENT*) echo "correct ACCELERATOR_TYPE, RUNTIME_VERSION, ZONE or CREATE_FLAGS" ;;
    *) echo "see the lines above" ;;
  esac
}

# Runs a command, and again after a transient failure; its stdout passes through. A dry run prints the command instead.
# On failure returns its status; its stderr is in the file $errors.
attempt() {
  local try status copy writer delay=$RETRY_SECONDS
  if [[ -n $DRY_RUN ]]; then quoted "$@"; return 0; fi
  for ((try = 1; ; try++)); do
    status=0
    exec {copy}> >(tee "$errors" >&2)
    writer=$!
    "$@" 2>&"$copy" || status=$?
    exec {copy}>&-
    wait "$writer" || true
    [[ $status -ne 0 ]] || return 0
    if [[ $try -ge $ATTEMPTS ]] || { [[ $status -ne 255 ]] && ! is_transient "$errors"; }; then break; fi
    say "try $try of $ATTEMPTS failed, again in ${delay}s: $(quoted "${@:1:5}") ..."
    sleep "$delay"
    delay=$((delay * 2))
  done
  return "$status"
}

# As `attempt`, but a failure ends the script with the command and what to do.
must() { attempt "$@" || die "$(quoted "$@") failed: $(advice "$errors")"; }

# The word that a describe command prints; NOT_FOUND if the resource does not exist. Never called in a dry run.
state_of() {
  local answer
  if answer="$(attempt "$@" 2>"$errors.describe")"; then
    printf '%s\n' "${answer:-UNKNOWN}"
  elif grep -qE 'NOT_FOUND|was not found|404' "$errors.describe"; then
    echo NOT_FOUND
  else
    cat "$errors.describe" >&2
    die "$(quoted "$@") failed: $(advice "$errors.describe")"
  fi
}
