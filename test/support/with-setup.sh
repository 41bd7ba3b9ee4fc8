#!/bin/bash
# Sets the machine up (Debian packages, npm packages), builds, and runs one TypeScript program of ours.
# Usage: with-setup.sh PROGRAM.ts [ARGUMENT…]
set -euo pipefail
cd "$(dirname "$0")/../.."
bash test/support/setup.sh test
bash test/support/npm-ci.sh
bash test/support/build.sh
exec node --import=tsx "$@"
