#!/bin/bash
# Builds dist/: the two programs, the workers, the XDP object, the loader and the shipped definitions.
# What is newer than its sources is left alone, so that a second call costs almost nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p dist
failed=0

# newer TARGET SOURCE… — true when TARGET exists and no file below the sources is younger.
newer() {
    local target=$1; shift
    [ -e "$target" ] && [ -z "$(find "$@" -newer "$target" -print -quit 2>/dev/null)" ]
}

# --- programs: one CommonJS file each (the loader of ECMAScript modules costs start-up time), native modules stay outside
bundle() {
    local entry=$1 target=$2
    newer "$target" src packaging/stub package.json node_modules/.package-lock.json test/support/build.sh && return 1
    node_modules/.bin/esbuild "$entry" --bundle --platform=node --format=cjs --target=node20 --supported:dynamic-import=false \
        --minify-whitespace --minify-syntax --legal-comments=none --define:import.meta.url=importMetaUrl \
        --banner:js="const importMetaUrl = require('node:url').pathToFileURL(__filename).href;" --log-level=warning --sourcemap=external \
        --alias:xml2js=./packaging/stub/xml2js.cjs --alias:thread-stream=./packaging/stub/thread-stream.cjs \
        --external:usocket --external:x11 --external:koffi --external:bpf --external:netlink --external:systemd-journald \
        --outfile="$target.new"
    # One character outside of ASCII would double the memory the text of the program takes.
    if LC_ALL=C grep -qP '[^\x00-\x7F]' "$target.new"; then echo "build: $target is not ASCII" >&2; exit 1; fi
    mv "$target.new.map" "$target.map"
    mv "$target.new" "$target"
}
# The program itself is a launcher beside its bundle and what V8 made of it (packaging/launch.cjs).
program() {
    local entry=$1 name=$2
    bundle "$entry" "dist/$name.bundle.js" || newer "dist/$name.js" packaging/launch.cjs && newer "dist/$name.cache" "dist/$name.bundle.js" && return 0
    install -m 755 packaging/launch.cjs "dist/$name.js"
    rm -f "dist/$name.cache"
    DERPANET_WRITE_CACHE=1 node "dist/$name.js" --version >/dev/null
}
[ -e dist/package.json ] || echo '{ "type": "commonjs" }' >dist/package.json
program src/main.ts derpanetd
program src/cli/main.ts derpanetctl
for worker in src/*/*-worker.ts; do
    [ -e "$worker" ] && { bundle "$worker" "dist/$(basename "$worker" .ts).js" || true; }
done

# --- kernel side
make -s -C bpf OUT=../dist

# --- shipped definitions, checked and packed so that the daemon need not parse hundreds of files at start
if [ -e packaging/compile-lib.ts ] && ! newer dist/lib/.stamp etc/lib src/settings src/config packaging/compile-lib.ts; then
    node --import tsx packaging/compile-lib.ts etc/lib dist/lib
    touch dist/lib/.stamp
fi

# --- what is restored at boot before the daemon ever ran, checked by who restores it
if ! newer dist/lib/boot/boot dist/lib/.stamp src/compile src/diff src/model src/kernel/boot.ts packaging/compile-boot.ts; then
    node --import tsx packaging/compile-boot.ts dist/lib
    dist/derpanet-load restore --check boot --boot "$PWD/dist/lib/boot" >/dev/null
fi

# Programs, loader and object must exist: a build that made only some of them is no build.
for made in derpanetd.js derpanetd.bundle.js derpanetctl.js derpanetctl.bundle.js derpanet.bpf.o derpanet-load lib; do
    [ -e "dist/$made" ] || { echo "build: dist/$made was not made" >&2; failed=1; }
done
exit $failed
