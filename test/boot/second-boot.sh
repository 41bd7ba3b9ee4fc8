#!/bin/bash
# Inside of a machine that booted with derpanetd enabled and a boot file of an earlier run (see run.sh): what was in force when.
set -u
here=$(dirname "$(readlink -f "$0")")
. "$here/lib.sh"
. "$here/packets.sh"
monotonic() { local at; at=$(property "$1" "$2"); echo $((at / 1000)); }

part 'a machine boots'
early=$(monotonic derpanet-early.service ActiveEnterTimestampMonotonic)
network=$(monotonic network-pre.target ActiveEnterTimestampMonotonic)
until_true 20 running
daemon=$(monotonic derpanetd.service ActiveEnterTimestampMonotonic)
zero=$(monotonic local-fs.target ActiveEnterTimestampMonotonic)
figure "after local-fs.target: rules in force at $((early - zero)) ms, network-pre.target at $((network - zero)) ms, derpanetd ready at $((daemon - zero)) ms"
is 'derpanet-early.service' active "$(property derpanet-early ActiveState)"
if [ "$early" -gt 0 ] && [ "$early" -le "$network" ]; then good 'rules are in force before network-pre.target'; else bad "early $early, network-pre $network"; fi
if [ "$network" -lt "$daemon" ]; then good 'the network does not wait for Node'; else bad "network-pre $network, daemon $daemon"; fi
like 'what was restored' '"restored":true,"from":"/var/lib/derpanet/boot/boot"' "$(journal)"
figure "$(journal | grep -o '"generation":.*elapsedMs.*' | head -1)"
like 'the daemon adopted it' 'nothing to do' "$(journal)"
is 'no ordering cycle' '' "$(journalctl --no-pager -b -o cat | grep -i 'ordering cycle')"
is 'nothing failed' '' "$(systemctl --failed --no-legend --plain)"
peer_up
until_true 10 bash -c 'derpanetctl status | grep -q "ext0: native"'
like 'an interface that came later carries the program' 'ext0: native' "$(derpanetctl status)"
packets 'packets'
kill %1 2>/dev/null
finish
