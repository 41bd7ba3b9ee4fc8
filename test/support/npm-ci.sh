#!/bin/bash
# Installs the locked npm packages and builds tap without its TypeScript plugin (that one cannot load TypeScript 7).
# Does nothing when node_modules already holds exactly what package-lock.json says.
set -euo pipefail
cd "$(dirname "$0")/../.."
stamp=node_modules/.derpanet-installed
wanted=$(cat package.json package-lock.json .taprc | sha256sum)
[ -e $stamp ] && [ "$(cat $stamp)" = "$wanted" ] && exit 0
npm ci --no-audit --no-fund --loglevel=error >&2
npx --no-install tap build >/dev/null
echo "$wanted" >$stamp
