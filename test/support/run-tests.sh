#!/bin/bash
# `npm test`: set-up, build, type check, then every test. Its last line is "N passed, M failed, K skipped".
# Suites that need no root run side by side; those that build private hosts run after them, two at a time.
# DERPANET_TEST_FULL=1: all counts instead of samples. Arguments: test files, instead of all of them.
set -uo pipefail
cd "$(dirname "$0")/../.."
fail_early() { echo "$1 failed" >&2; echo "0 passed, 1 failed, 0 skipped"; exit 1; }

bash test/support/setup.sh test || fail_early 'set-up'
bash test/support/npm-ci.sh || fail_early 'npm ci'
bash test/support/build.sh || fail_early 'build'
npx --no-install tsc --noEmit || fail_early 'type check'
exec node --import=tsx test/support/run-tests.ts "$@" </dev/null
