#!/usr/bin/env bash
# Installs Go and the Debian or Ubuntu packages that building and testing need,
# if they are missing. Quick and silent when nothing is. What the lab needs
# beyond that, lab up installs itself.
set -euo pipefail

packages=(
  git ca-certificates              # the checkout and Go modules
  rsync xfsprogs e2fsprogs         # the second copy engine, and BackupDisks of the tests
  acl attr util-linux              # the generator of test files
  openssh-client openssh-server    # the ssh tests
  systemd                          # its check of the unit file
  rpm                              # it reads the packages in their tests
)
missing=()
for p in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "installing ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

if ! command -v go >/dev/null; then
  echo "installing Go"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends golang-go >/dev/null
fi
# From 1.21 on, Go fetches the version that go.mod names by itself.
minor=$(go env GOVERSION | sed -E 's/^go1\.([0-9]+).*/\1/')
if [ "$minor" -lt 21 ]; then
  echo "error: $(go env GOVERSION) is too old. Install Go 1.21 or newer (Debian 12: golang-1.21 or newer from bookworm-backports) and run again." >&2
  exit 1
fi
