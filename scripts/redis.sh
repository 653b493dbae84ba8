#!/usr/bin/env bash
# Installs Debian's redis-server where it is missing and may be installed; tests start it themselves.
set -euo pipefail
if command -v redis-server >/dev/null; then
    exit 0
fi
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    apt-get install --yes --no-install-recommends redis-server >/dev/null 2>&1 || true
fi
command -v redis-server >/dev/null || echo "redis-server is not here: tests of the shared quota skip" >&2
