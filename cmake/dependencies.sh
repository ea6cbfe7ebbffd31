#!/bin/sh
# Installs the Debian or Ubuntu packages that the build and its tests need and this machine lacks, saying which. Needs
# root or sudo only if something is missing; on another system it says what to install and leaves it to you.
set -eu

missing=""
need() { missing="$missing $1"; }

command -v cc >/dev/null 2>&1 || need gcc
command -v cmake >/dev/null 2>&1 || need cmake
command -v make >/dev/null 2>&1 || need make
command -v pkg-config >/dev/null 2>&1 || need pkg-config
[ -e /usr/include/stdio.h ] || need libc6-dev
for pair in hdf5:libhdf5-dev libcjson:libcjson-dev libpcre2-8:libpcre2-dev libutf8proc:libutf8proc-dev \
            libcrypto:libssl-dev check:check; do
    pkg-config --exists "${pair%%:*}" 2>/dev/null || need "${pair#*:}"
done
ls /usr/share/javascript/chart.js/chart.*.js >/dev/null 2>&1 || need libjs-chart.js
command -v xmllint >/dev/null 2>&1 || need libxml2-utils
/usr/bin/python3 -c "import jsonschema" >/dev/null 2>&1 || need python3-jsonschema
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "Please install what Debian calls:$missing" >&2
    exit 1
fi
if [ "$(id -u)" -eq 0 ]; then
    as_root=""
elif command -v sudo >/dev/null 2>&1; then
    as_root="sudo"
else
    echo "Please install, as root: apt-get install$missing" >&2
    exit 1
fi
echo "Installing the packages:$missing"
$as_root apt-get update -qq
# shellcheck disable=SC2086 # a list of names
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
