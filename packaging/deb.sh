#!/bin/bash
# Builds dist/derpanet_VERSION_ARCH.deb from what `npm run build` left in dist/. Needs dpkg-deb, no root.
# Usage: packaging/deb.sh [OUTPUT-DIR]
set -euo pipefail
cd "$(dirname "$0")/.."
output=${1:-dist}
version=$(node -p "require('./package.json').version")
arch=$(dpkg --print-architecture)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
chmod 755 "$tree"

for made in derpanetd.js derpanetd.bundle.js derpanetctl.js derpanetctl.bundle.js derpanet.bpf.o derpanet-load lib; do
    [ -e "dist/$made" ] || { echo "deb: dist/$made is missing: run npm run build first" >&2; exit 1; }
done

# --- programs: one folder holds the bundles and the native modules they load
program=$tree/usr/lib/derpanet/program
install -d "$program" "$tree/usr/sbin" "$tree/usr/bin"
install -m 644 dist/package.json "$program/package.json"
install -m 755 dist/derpanetd.js dist/derpanetctl.js dist/derpanet-load "$program/"
install -m 644 dist/*.bundle.js dist/*.cache "$program/"
for worker in dist/*-worker.js; do [ -e "$worker" ] && install -m 644 "$worker" "$program/"; done
install -m 644 dist/derpanet.bpf.o "$program/"
ln -s ../lib/derpanet/program/derpanetd.js "$tree/usr/sbin/derpanetd"
ln -s ../lib/derpanet/program/derpanetctl.js "$tree/usr/bin/derpanetctl"

# Only what the bundles load at run time: JavaScript, and the binary of this architecture and C library.
copy_module() {
    local module=$1; shift
    local from=node_modules/$module to=$program/node_modules/$module part
    install -d "$to"
    for part in package.json "$@"; do
        [ -e "$from/$part" ] || { echo "deb: node_modules/$module/$part is missing: run npm ci" >&2; exit 1; }
        install -d "$(dirname "$to/$part")"
        cp -r "$from/$part" "$(dirname "$to/$part")/"
    done
}
node_arch=$(node -p process.arch)
prebuild=prebuilds/linux-$node_arch
copy_module koffi index.js index.cjs indirect.js indirect.cjs
koffi=src/koffi # its JavaScript without the C++ sources beside it
for part in $(cd node_modules/koffi && find $koffi -name '*.js' -o -name '*.cjs'); do copy_module koffi "$part"; done
copy_module "@koromix/koffi-linux-$node_arch" index.js "linux_$node_arch"
copy_module bpf dist "$prebuild"
copy_module netlink dist "$prebuild"
copy_module node-gyp-build index.js node-gyp-build.js
if [ -e node_modules/systemd-journald/build/Release/journal_send.node ]; then
    copy_module systemd-journald index.js log.js build/Release/journal_send.node
fi

# type declarations and source maps serve nobody there
find "$program/node_modules" -name '*.d.ts' -delete -o -name '*.map' -delete

# --- shipped definitions, configuration
cp -r dist/lib/. "$tree/usr/lib/derpanet/"
rm -f "$tree/usr/lib/derpanet/.stamp"
install -d "$tree/etc/derpanet"/{zones,policies,services,ipsets,icmptypes,helpers,lists}
install -m 644 etc/derpanet.yaml "$tree/etc/derpanet/"

# --- systemd, bus, polkit
install -d "$tree/lib/systemd/system" "$tree/usr/share/dbus-1/system.d" "$tree/usr/share/dbus-1/system-services" "$tree/usr/share/polkit-1/actions" \
    "$tree/usr/lib/tmpfiles.d" "$tree/usr/lib/modules-load.d"
for file in systemd/*; do
    name=$(basename "$file")
    case $name in
    org.*.service) install -m 644 "$file" "$tree/usr/share/dbus-1/system-services/$name" ;;
    *.service | *.mount | *.path | *.socket | *.timer | *.target) install -m 644 "$file" "$tree/lib/systemd/system/$name" ;;
    *.sysusers) install -D -m 644 "$file" "$tree/usr/lib/sysusers.d/derpanet.conf" ;;
    *.tmpfiles | *tmpfiles.conf) install -m 644 "$file" "$tree/usr/lib/tmpfiles.d/derpanet.conf" ;;
    *modules-load.conf) install -m 644 "$file" "$tree/usr/lib/modules-load.d/derpanet.conf" ;;
    # the alternatives of the package firewalld: postinst puts ours before them
    org.derpanet.FirewallD1.policy) install -D -m 644 "$file" "$tree/usr/share/derpanet/polkit/org.fedoraproject.FirewallD1.policy" ;;
    org.*.conf) install -m 644 "$file" "$tree/usr/share/dbus-1/system.d/$name" ;;
    *.policy) install -m 644 "$file" "$tree/usr/share/polkit-1/actions/$name" ;;
    *) echo "deb: systemd/$name: do not know where it goes" >&2; exit 1 ;;
    esac
done

# --- manual, licence
for page in packaging/man/*.[1-8]; do
    [ -e "$page" ] || continue
    section=${page##*.}
    install -d "$tree/usr/share/man/man$section"
    gzip -9nc "$page" >"$tree/usr/share/man/man$section/$(basename "$page").gz"
done
install -d "$tree/usr/share/doc/derpanet"
for page in README.md CHANGELOG.md; do [ -e "$page" ] && install -m 644 "$page" "$tree/usr/share/doc/derpanet/"; done
install -m 644 packaging/debian/copyright "$tree/usr/share/doc/derpanet/copyright"

# --- control
install -d "$tree/DEBIAN"
size=$(du -sk "$tree" | cut -f1)
sed -e "s/@VERSION@/$version/; s/@ARCH@/$arch/; s/@SIZE@/$size/" packaging/debian/control.in >"$tree/DEBIAN/control"
(cd "$tree" && find etc -type f -printf '/%p\n' | sort) >"$tree/DEBIAN/conffiles"
for script in preinst postinst prerm postrm; do
    [ -e "packaging/debian/$script" ] && install -m 755 "packaging/debian/$script" "$tree/DEBIAN/$script"
done
find "$tree" -type d -exec chmod 755 {} +
mkdir -p "$output"
dpkg-deb --root-owner-group -Zxz --build "$tree" "$output/derpanet_${version}_$arch.deb" >&2
echo "$output/derpanet_${version}_$arch.deb"
