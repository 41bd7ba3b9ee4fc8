#!/bin/bash
# derpanetd on a distribution's own kernel (Debian 12: 6.1, Debian 13: 6.12; everything in modules), in an emulated machine.
#
#   VM=/path/to/vm.sh npm run test:vm -- [--suite bookworm|trixie] [--deb FILE]
#
# VM is a program that boots such a kernel with systemd and runs one command: options --suite, --full, --node, --deb,
# --copy SRC:DST, --timeout, then -- COMMAND. Needs root and some minutes.
set -euo pipefail
cd "$(dirname "$0")/../.."
suite=bookworm deb=
while [ $# -gt 0 ]; do
    case $1 in
    --suite) suite=$2; shift 2 ;;
    --deb) deb=$2; shift 2 ;;
    *) sed -n '2,7p' "$0" >&2; exit 2 ;;
    esac
done
[ -x "${VM:-}" ] || { echo "test:vm: set VM to the program that boots a kernel (see the head of $0)" >&2; exit 2; }
if [ -z "$deb" ]; then
    bash test/support/build.sh
    deb=$(bash packaging/deb.sh "$(mktemp -d)" 2>/dev/null)
fi
exec "$VM" --suite "$suite" --full --node --deb "$deb" --copy "$PWD/test/boot:/opt/derpanet-test" --timeout 1800 -- bash /opt/derpanet-test/inside-vm.sh
