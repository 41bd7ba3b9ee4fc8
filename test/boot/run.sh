#!/bin/bash
# Boots a real Debian with the package installed and looks at derpanetd there: units, privileges, bus, crashes, boot.
#
#   BOOT=/path/to/boot.sh npm run test:boot -- [--suite bookworm|trixie] [--deb FILE]
#
# BOOT is a program that boots Debian in containers of systemd-nspawn and runs one command inside: options --suite, --deb,
# --apt, --copy SRC:DST, --rw-bind SRC:DST, --run CMD, --no-node, --timeout, then -- COMMAND. Needs root. Debian 12's own
# Node is too old: there the host's is used; later ones bring their own.
set -euo pipefail
cd "$(dirname "$0")/../.."
suite=bookworm deb=
while [ $# -gt 0 ]; do
    case $1 in
    --suite) suite=$2; shift 2 ;;
    --deb) deb=$2; shift 2 ;;
    *) sed -n '2,9p' "$0" >&2; exit 2 ;;
    esac
done
[ -x "${BOOT:-}" ] || { echo "test:boot: set BOOT to the program that boots a Debian (see the head of $0)" >&2; exit 2; }
if [ -z "$deb" ]; then
    bash test/support/build.sh
    deb=$(bash packaging/deb.sh "$(mktemp -d)" 2>/dev/null)
fi
node=()
[ "$suite" = bookworm ] || node=(--no-node --apt nodejs)
kept=$(mktemp -d)
trap 'rm -rf "$kept"' EXIT
boot() { "$BOOT" --suite "$suite" "${node[@]}" --deb "$deb" --copy "$PWD/test/boot:/opt/derpanet-test" --timeout 600 "$@"; }

status=0
boot -- bash /opt/derpanet-test/inside.sh || status=1

# A second machine begins with what the daemon of another one left on disk.
boot --rw-bind "$kept:/kept" -- bash -c '
    here=/opt/derpanet-test; . $here/lib.sh; . $here/packets.sh
    packets_configuration; systemctl start derpanetd; sleep 4; systemctl stop derpanetd
    cp -a /var/lib/derpanet/boot /etc/derpanet /kept/' >/dev/null || status=1
boot --copy "$kept/boot:/var/lib/derpanet/boot" --copy "$kept/derpanet:/etc/derpanet.kept" \
    --run 'cp -a /etc/derpanet.kept/. /etc/derpanet/; chown -R derpanet:derpanet /var/lib/derpanet /etc/derpanet
        rm -f /etc/systemd/system/firewalld.service; systemctl enable derpanetd' \
    -- bash /opt/derpanet-test/second-boot.sh || status=1
exit $status
