#!/bin/bash
# Inside of a machine with a distribution's own kernel, everything netfilter in modules (see vm.sh): what works there, what
# XDP cannot do and where that is said.
set -u
here=$(dirname "$(readlink -f "$0")")
export PATIENCE=15
. "$here/lib.sh"
. "$here/packets.sh"
forget() { /usr/sbin/derpanetd --purge >/dev/null 2>&1; rm -f /run/derpanet/*.json*; }
loaded() { lsmod | awk 'NR > 1 { print $1 }' | grep -E '^(nf_conntrack|ip_tables|ip6_tables|ip_set|ip_set_hash_net|ip_set_bitmap_port|xt_set|xt_conntrack|nft_compat|nf_tables)$' | sort | xargs; }

part 'the kernel'
figure "$(. /etc/os-release; echo "$PRETTY_NAME"), kernel $(uname -r), $(systemctl --version | head -1)"
figure "modules at boot: $(loaded)"
like 'modules-load.d brought what a bounded daemon cannot' 'nf_conntrack' "$(loaded)"
like 'and the legacy tables' 'ip_tables' "$(loaded)"
rm -f /etc/systemd/system/firewalld.service; systemctl daemon-reload
peer_up
packets_configuration
ip link add dummy0 type dummy; ip link set dummy0 up
ip link add br0 type bridge; ip link set br0 up
ip link add port0 type veth peer name port1; ip link set port0 master br0; ip link set port0 up

part 'start'
begun=$(now_ms); systemctl start derpanetd; is 'systemctl start' 0 $?; figure "$(($(now_ms) - begun)) ms on an emulated processor"
is 'derpanet-early' active "$(property derpanet-early ActiveState)"
until_true 4 bash -c 'derpanetctl status | grep -q "ext0: native"'
shown=$(derpanetctl status); sed 's/^/# /' <<<"$shown"
like 'the BPF object is loaded' '"(loaded|adopted)":true,.*"program":[0-9]+' "$(journal)"
like 'native where it is asked for' 'ext0: native' "$shown"
like 'by itself not on a dummy, with the reason' 'dummy0: off: auto: native XDP on a dummy slows accepted traffic down' "$shown"
like 'nor on a bridge, with the reason' 'br0: off: auto: native XDP on a bridge' "$shown"
unlike 'a port of a bridge is nobody'"'"'s business' '^ +port0: native' "$shown"
figure "modules now: $(loaded)"
pid=$(property derpanetd MainPID)
is 'user' derpanet "$(stat -c %U /proc/$pid)"
is 'capabilities' 000000c000003000 "$(sed -n 's/^CapBnd:\t//p' /proc/$pid/status)"

part 'packets'
packets 'nf_tables'
raw=$(iptables -t raw -L -nvx | awk '/match-set derpa-bad-4/ { sum += $1 } END { print sum + 0 }')
is 'XDP dropped what is on the list before the ruleset saw it: packets that raw had to drop' 0 "$raw"

part 'generic, asked for by name'
sed -i 's/^xdp-interfaces: .*/xdp-interfaces: {ext0: native, dummy0: generic, br0: native}/' /etc/derpanet/derpanet.yaml
systemctl reload derpanetd; until_true 4 bash -c 'derpanetctl status | grep -q "dummy0: generic"'
shown=$(derpanetctl status)
like 'generic on the dummy' 'dummy0: generic' "$shown"
like 'what was asked for and cannot be is degraded' 'xdp +degraded' "$shown"
like 'with its reason' 'br0: off: EOPNOTSUPP: the driver has no native XDP' "$shown"
packets_configuration; systemctl reload derpanetd; until_true 4 bash -c '! derpanetctl status | grep -q "dummy0: generic"'

part 'a boot'
sleep 20; systemctl stop derpanetd derpanet-early; forget
is 'without rules it is open' open "$(probe tcp 192.0.2.3 81)"
systemctl start derpanet-early; is 'derpanet-early' active "$(property derpanet-early ActiveState)"
figure "$(journal -n 4 | grep -o '"generation.*')"
is 'restored: open, default answer, block list, DROP' 'open unreachable timeout timeout' "$(probe tcp 192.0.2.2 80) $(probe tcp 192.0.2.2 81) $(probe tcp 192.0.2.3 80) $(probe tcp 192.0.2.17 22)"
mark; systemctl start derpanetd; like 'the daemon adopts it' 'nothing to do' "$(since)"

part 'the legacy iptables'
update-alternatives --set iptables /usr/sbin/iptables-legacy >/dev/null; update-alternatives --set ip6tables /usr/sbin/ip6tables-legacy >/dev/null
systemctl restart derpanetd; like 'variant' 'variant: legacy' "$(derpanetctl status)"
packets 'legacy'
kill %1 2>/dev/null
finish
