#!/usr/bin/env bash
# Installs the interpreters that `executors` runs programs with, without asking questions; running it again is harmless.
#
#   tpu_scripts/install_interpreters.sh [bubblewrap|racket|javascript|julia|python|lua|ocaml|r|browser]...
#     or [perl|php|ruby|scheme|fortran]...
#
# Without arguments: the languages from racket to r; those from perl on only if named. browser: headless chromium (64 MB), with which
# the tests open reports. apt installs Debian packages (as root, or through `sudo -n`). Debian 12 has no package of
# Julia: if no `julia` is on PATH, Debian 11's julia 1.5.3 and its libraries are unpacked into a private folder
# (AZR_JAX_JULIA_ROOT, by default .setup/julia-root in the repository), which the sandbox uses as its /. No system file
# is touched for that. Exits non-zero and names what is missing if something could not be installed.
set -euo pipefail

repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
julia_root="${AZR_JAX_JULIA_ROOT:-$repository/.setup/julia-root}"
debian_keyring=/usr/share/keyrings/debian-archive-keyring.gpg
julia_suite=bullseye

# language, the command that must be on PATH, its Debian package, and where to get it otherwise
table="bubblewrap bwrap bubblewrap the_package_bubblewrap_of_your_system
racket racket racket https://racket-lang.org
javascript node nodejs https://nodejs.org
python python3 python3 https://python.org
lua lua5.4 lua5.4 https://lua.org
ocaml ocaml ocaml-nox https://ocaml.org
r Rscript r-base-core https://r-project.org
perl perl perl https://perl.org
php php php-cli https://php.net
ruby ruby ruby https://ruby-lang.org
scheme guile guile-3.0 https://gnu.org/software/guile
fortran gfortran gfortran https://gcc.gnu.org/fortran
browser chromium-headless-shell chromium-headless-shell the_package_chromium_of_your_system"

say() { printf '%s\n' "install_interpreters: $*" >&2; }

as_root() {
  if [[ $EUID -eq 0 ]]; then "$@"; else sudo -n -- "$@"; fi
}

can_use_apt() {
  command -v apt-get >/dev/null || return 1
  [[ $EUID -eq 0 ]] || { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }
}

apt_get_install() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# Installs the given Debian packages; refreshes the package lists only when they do not know a package.
apt_install() {
  local package status=0
  apt_get_install "$@" 2>/dev/null && return
  as_root apt-get update -qq >/dev/null || say "the package lists can't be refreshed"
  apt_get_install "$@" 2>/dev/null && return
  # One unknown package makes apt install none of them.
  for package in "$@"; do apt_get_install "$package" || status=1; done
  return "$status"
}

# The archive addresses that this machine's own apt sources name for component main, one per line.
debian_archives() {
  # shellcheck disable=SC2016  # the dollar names are apt's format fields
  apt-get indextargets --format '$(COMPONENT) $(RELEASE) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    awk '$1 == "main" && $2 !~ /[-\/]/ { print $3 }' | sort -u
}

# Deletes what programs never read: manuals, headers, desktop files, and tools installed as dependencies.
prune_julia_root() {
  local folder="$1"
  rm -rf "$folder"/usr/share/{doc,doc-base,man,info,locale,icons,applications,lintian,bug,menu,pixmaps,metainfo} \
    "$folder"/usr/include "${folder:?}"/var "$folder"/usr/share/perl* "$folder"/usr/lib/*/perl* \
    "$folder"/usr/share/julia/test "$folder"/usr/lib/*/*.a "$folder"/usr/lib/*/gconv "$folder"/usr/share/i18n
}

# Alternatives that the packages' own scripts would set up, which dpkg -x does not run.
link_alternatives() {
  local library folder
  for folder in "$1"/usr/lib/*-linux-gnu; do
    for library in libblas.so.3 liblapack.so.3; do
      [[ -e $folder/$library ]] && continue
      for implementation in openblas-pthread openblas-serial blas lapack; do
        if [[ -e $folder/$implementation/$library ]]; then
          ln -s "$implementation/$library" "$folder/$library"
          break
        fi
      done
    done
  done
}

julia_works() { [[ -f $1/.complete && -x $1/usr/bin/julia ]]; }

install_julia_root() {
  local work archive package apt_options=()
  if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null || [[ ! -r $debian_keyring ]]; then
    return 1
  fi
  work="$(mktemp -d)"
  mkdir -p "$work"/{lists/partial,archives/partial,parts,root}
  : >"$work/status"
  apt_options=(-o "Dir::Etc::SourceList=$work/sources.list" -o "Dir::Etc::SourceParts=$work/parts"
    -o "Dir::Etc::PreferencesParts=$work/parts" -o "Dir::State::Lists=$work/lists"
    -o "Dir::State::status=$work/status" -o "Dir::Cache::archives=$work/archives"
    -o "Dir::Cache::pkgcache=" -o "Dir::Cache::srcpkgcache=" -o "APT::Sandbox::User=$(id -un)"
    -o "Acquire::Check-Valid-Until=false" -o "APT::Keep-Downloaded-Packages=true")
  while read -r archive; do
    echo "deb [signed-by=$debian_keyring] $archive $julia_suite main" >"$work/sources.list"
    apt-get "${apt_options[@]}" update -qq >"$work/log" 2>&1 || continue
    apt-get "${apt_options[@]}" install -y -qq --download-only --no-install-recommends julia >"$work/log" 2>&1 && break
  done < <(debian_archives)
  if ! compgen -G "$work/archives/julia_*.deb" >/dev/null; then
    say "no archive in this machine's apt sources has $julia_suite's julia"
    [[ -s $work/log ]] && tail -n 3 "$work/log" >&2
    rm -rf "$work"
    return 1
  fi
  mkdir -p "$(dirname "$julia_root")"
  local staging="$julia_root.new"
  rm -rf "$staging"
  mkdir -p "$staging"
  for package in "$work"/archives/*.deb; do
    # A full disk: `set -e` is off here, because the caller checks the status.
    dpkg-deb -x "$package" "$staging" || { rm -rf "$staging" "$work"; return 1; }
  done
  prune_julia_root "$staging"
  link_alternatives "$staging"
  dpkg-deb -f "$(compgen -G "$work/archives/julia_*.deb" | head -n 1)" Version | sed "s/[+-].*//" >"$staging/.complete"
  rm -rf "$julia_root" "$work"
  mv "$staging" "$julia_root"
  say "julia unpacked into $julia_root"
}

main() {
  case " $* " in *" --help "* | *" -h "*) sed -n "2,/^set/s/^# \{0,1\}//p" "${BASH_SOURCE[0]}"; return ;; esac
  local wanted=("$@") language entry command package address missing=() packages=() waiting=()
  [[ ${#wanted[@]} -gt 0 ]] || wanted=(bubblewrap racket javascript python julia lua ocaml r)
  [[ " ${wanted[*]} " == *" bubblewrap "* ]] || wanted=(bubblewrap "${wanted[@]}")
  for language in "${wanted[@]}"; do
    if [[ $language == julia ]]; then
      command -v julia >/dev/null || julia_works "$julia_root" || install_julia_root ||
        missing+=("julia (install it with juliaup: https://julialang.org/downloads)")
      continue
    fi
    entry="$(grep -- "^$language " <<<"$table")" || {
      package="$(cut -d " " -f 1 <<<"$table")"
      say "unknown language '$language': use some of julia ${package//$'\n'/ }"
      exit 2
    }
    read -r _ command package address <<<"$entry"
    command -v "$command" >/dev/null && continue
    packages+=("$package")
    waiting+=("$language $command ${address//_/ }")
  done
  if [[ ${#packages[@]} -gt 0 ]] && can_use_apt; then
    apt_install "${packages[@]}" || say "apt could not install all of: ${packages[*]}"
  fi
  # Node's addon is compiled here; JavaScript works without it, but every program then starts its own Node.
  if [[ " ${wanted[*]} " == *" javascript "* ]] && ! command -v cc >/dev/null && can_use_apt; then
    apt_install gcc libc6-dev || say "no C compiler: JavaScript programs will start more slowly"
  fi
  for entry in ${waiting[@]+"${waiting[@]}"}; do
    read -r language command address <<<"$entry"
    command -v "$command" >/dev/null || missing+=("$language (command $command; see $address)")
  done
  if [[ ${#missing[@]} -gt 0 ]]; then
    say "not installed, install by hand:"
    printf '  %s\n' "${missing[@]}" >&2
    exit 1
  fi
}

main "$@"
