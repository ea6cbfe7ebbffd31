#!/bin/sh
# Installs the Debian or Ubuntu packages that the build needs and this machine lacks, saying which; with the argument `tests`
# those that only tests need, too. Needs root or sudo only if something is missing; on another system it says what to install
# and leaves it to you.
set -eu

missing=""
need() { missing="$missing $1"; }
need_program() { command -v "$1" >/dev/null 2>&1 || need "${2:-$1}"; }
need_module() { /usr/bin/python3 -c "import $1" >/dev/null 2>&1 || need "$2"; }

need_program cc gcc
need_program cmake
need_program make
need_program pkg-config
need_program python3
[ -e /usr/include/stdio.h ] || need libc6-dev
for pair in hdf5:libhdf5-dev libcjson:libcjson-dev libpcre2-8:libpcre2-dev libutf8proc:libutf8proc-dev \
            libcrypto:libssl-dev check:check; do
    pkg-config --exists "${pair%%:*}" 2>/dev/null || need "${pair#*:}"
done
[ -e /usr/share/javascript/chart.js/chart.min.js ] || [ -e /usr/share/javascript/chart.js/chart.umd.js ] || need libjs-chart.js

if [ "${1:-}" = tests ]; then
    need_program xmllint libxml2-utils
    need_program mandoc
    need_module pip python3-pip
    need_module jsonschema python3-jsonschema
    need_module selenium python3-selenium
    need_module yaml python3-yaml
    command -v google-chrome >/dev/null 2>&1 || need_program chromium
    need_program chromedriver chromium-driver
    ls /usr/share/fonts/truetype/dejavu >/dev/null 2>&1 || need fonts-dejavu-core
fi
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
