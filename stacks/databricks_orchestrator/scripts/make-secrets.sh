#!/usr/bin/env bash
# Makes every secret that is still missing: for each secrets/NAME.example a random secrets/NAME.
# Secrets that exist are never touched.
set -euo pipefail
cd "$(dirname "$0")/../secrets"

# The directory keeps other people of this machine out. The files themselves are readable, since
# container engines mount them as they are and the processes that read them are not root.
chmod 700 .
for example in *.example; do
    secret=${example%.example}
    [[ -e $secret ]] && continue
    # Written aside and linked: of two deployments at once only one makes the secret.
    new=$(mktemp .new.XXXXXX)
    od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$new"
    chmod 444 "$new"
    ln "$new" "$secret" 2>/dev/null && echo "made secrets/$secret" >&2
    rm -f "$new"
done
