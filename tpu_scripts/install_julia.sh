#!/usr/bin/env bash
# Installs the Julia of your choice: install_julia.sh URL [FOLDER], URL a tar.gz from https://julialang.org/downloads.
#
# It is unpacked into FOLDER (/opt/julia) and linked as /usr/local/bin/julia, where `executors` and
# install_interpreters.sh find it before Debian's own. Running it again with the same URL does nothing.
set -euo pipefail

url="${1:?name the URL of a Julia tar.gz}"
folder="${2:-/opt/julia}"

as_root() { if [[ $EUID -eq 0 ]]; then "$@"; else sudo -n -- "$@"; fi; }

if [[ -f $folder/.url && $(<"$folder/.url") == "$url" ]]; then exit 0; fi
archive="$(mktemp)"
trap 'rm -f "$archive"' EXIT
python3 -c 'import shutil, sys, urllib.request as web; shutil.copyfileobj(web.urlopen(sys.argv[1]), open(sys.argv[2], "wb"))' \
  "$url" "$archive"
as_root rm -rf "$folder"
as_root mkdir -p "$folder"
as_root tar -xzf "$archive" -C "$folder" --strip-components=1
as_root ln -sfn "$folder/bin/julia" "${AZR_JAX_JULIA_LINK:-/usr/local/bin/julia}"
printf '%s\n' "$url" | as_root tee "$folder/.url" >/dev/null
