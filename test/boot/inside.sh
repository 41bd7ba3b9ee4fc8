#!/bin/bash
# Inside of a freshly booted machine with the package installed (see run.sh): derpanetd under its real unit, beside an
# installed but stopped firewalld. Prints every fact; ends with "N passed, M failed".
set -u
here=$(dirname "$(readlink -f "$0")")
. "$here/lib.sh"
. "$here/packets.sh"
unit=/run/systemd/system/derpanetd.service.d/test.conf
override() { mkdir -p "$(dirname $unit)"; { echo '[Service]'; printf '%s\n' "$@"; } >$unit; systemctl daemon-reload; }
no_override() { rm -rf /run/systemd/system/derpanet*.service.d; systemctl daemon-reload; }
# what a reboot leaves of us in the kernel and in /run
forget() { /usr/sbin/derpanetd --purge >/dev/null 2>&1; rm -f /run/derpanet/*.json*; }
state() { iptables-save | grep -v '^#' | sed 's/\[[0-9]*:[0-9]*\]//'; ip6tables-save | grep -v '^#' | sed 's/\[[0-9]*:[0-9]*\]//'; ipset save | sed 's/ packets [0-9]* bytes [0-9]*//; s/ initval [^ ]*//' | sort; }
bus() { busctl --system --timeout=30 "$@" 2>&1; }
firewalld=org.fedoraproject.FirewallD1
as_joe() { runuser -u joe -- "$@" 2>&1; }

useradd -m joe
# the machine masks firewalld so that it does not start; what is looked at here is one that was stopped
rm -f /etc/systemd/system/firewalld.service; systemctl daemon-reload
peer_up
packets_configuration

part 'start'
figure "$(. /etc/os-release; echo "$PRETTY_NAME"), $(systemctl --version | head -1), kernel $(uname -r), Node $(node --version)"
begun=$(now_ms); systemctl start derpanetd; status=$?
figure "systemctl start: $(($(now_ms) - begun)) ms"
is 'systemctl start ends with' 0 $status
is 'state' active "$(property derpanetd ActiveState)"
like 'systemd shows' 'RUNNING, generation' "$(property derpanetd StatusText)"
like 'the first start began with what is shipped' 'restored":true,"from":"/usr/lib/derpanet/boot/boot' "$(journal)"
is 'nothing failed on this machine' '' "$(systemctl --failed --no-legend --plain)"
until_true 5 grep -q native <<<"$(derpanetctl status)" || sleep 2
like 'XDP on the interface' 'ext0: native' "$(derpanetctl status)"
packets 'packets'

part 'privileges'
pid=$(property derpanetd MainPID)
is 'user of the daemon' derpanet "$(stat -c %U /proc/$pid)"
figure "$(grep -E '^(Uid|Gid|Groups|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):' /proc/$pid/status | tr '\t\n' ' ;')"
is 'effective capabilities' 'net_admin net_raw perfmon bpf' "$(python3 -c '
import sys
names = {12: "net_admin", 13: "net_raw", 38: "perfmon", 39: "bpf"}
caps = int(sys.argv[1], 16)
print(*[names.get(bit, "cap %d" % bit) for bit in range(64) if caps >> bit & 1])' "$(sed -n 's/^CapEff:\t//p' /proc/$pid/status)")"
is 'and no others are in reach' "$(sed -n 's/^CapEff:\t//p' /proc/$pid/status)" "$(sed -n 's/^CapBnd:\t//p' /proc/$pid/status)"
is 'no new privileges' 1 "$(sed -n 's/^NoNewPrivs:\t//p' /proc/$pid/status)"
in_unit() { nsenter --mount --target "$pid" setpriv --reuid derpanet --regid derpanet --clear-groups --inh-caps +net_admin --ambient-caps +net_admin sh -c "$1" 2>&1; }
is 'it may switch forwarding on' 1 "$(in_unit 'echo 1 >/proc/sys/net/ipv4/ip_forward; cat /proc/sys/net/ipv4/ip_forward')"
like 'and nothing else in /proc/sys' 'Read-only' "$(in_unit 'echo x >/proc/sys/kernel/hostname')"
like 'nor write where it is not at home' 'Read-only|ermission denied' "$(in_unit 'echo >/etc/derpanet-test; echo >/usr/lib/derpanet/x; echo >/run/x')"
echo 0 >/proc/sys/net/ipv4/ip_forward
for one in derpanetd derpanet-early derpanet-guard; do
    exposure=$(systemd-analyze security --no-pager $one | sed -n 's/.*exposure level for .*: \([0-9.]*\) .*/\1/p')
    figure "exposure of $one.service: $exposure"
    if awk "BEGIN { exit !($exposure <= 2.0) }"; then good "exposure of $one is at most 2.0"; else bad "exposure of $one: $exposure"; fi
done
figure "exposure of firewalld.service as packaged: $(systemd-analyze security --no-pager --offline=true /lib/systemd/system/firewalld.service 2>/dev/null | sed -n 's/.*exposure level for .*: \([0-9.]*\) .*/\1/p')"

part 'the bus: root'
is 'default zone' 's "public"' "$(bus call $firewalld /org/fedoraproject/FirewallD1 $firewalld getDefaultZone)"
is 'a port opens' 's "public"' "$(bus call $firewalld /org/fedoraproject/FirewallD1 $firewalld.zone addPort sssi '' 81 tcp 0)"
is 'and packets pass' open "$(probe tcp 192.0.2.2 81)"
is 'firewall-cmd --state' running "$(firewall-cmd --state)"
is 'owner of both names' "derpanetd derpanetd" "$(for name in org.derpanet.Derpanet1 $firewalld; do bus status $name | sed -n 's/^Unit=\(.*\)\.service/\1/p'; done | xargs)"

part 'the bus: an ordinary user'
is 'may ask for the default zone' 's "public"' "$(as_joe busctl --system call $firewalld /org/fedoraproject/FirewallD1 $firewalld getDefaultZone)"
is 'is denied in the words of firewalld' "Call failed: Not Authorized(polkit): $firewalld.config" "$(as_joe busctl --system call $firewalld /org/fedoraproject/FirewallD1 $firewalld.zone addPort sssi '' 99 tcp 0)"
like 'by the error of firewalld' "^Error $firewalld.NotAuthorizedException: Not Authorized\(polkit\): $firewalld.config" "$(as_joe dbus-send --system --print-reply --dest=$firewalld /org/fedoraproject/FirewallD1 $firewalld.zone.addPort string: string:99 string:tcp int32:0)"
as_joe firewall-cmd --add-port=99/tcp >/dev/null; is 'exit status of firewall-cmd' 253 $?
like 'our own interface is denied too' 'Not Authorized' "$(as_joe derpanetctl reload)"
is 'nothing changed' no "$(firewall-cmd --query-port=99/tcp)"
mkdir -p /etc/polkit-1/rules.d
cat >/etc/polkit-1/rules.d/10-joe.rules <<'END'
polkit.addRule(function(action, subject) { if (action.id == "org.fedoraproject.FirewallD1.config" && subject.user == "joe") return polkit.Result.YES; });
END
chmod 644 /etc/polkit-1/rules.d/10-joe.rules; sleep 1
is 'an admin'"'"'s rule of polkit lets them' 's "public"' "$(as_joe busctl --system call $firewalld /org/fedoraproject/FirewallD1 $firewalld.zone addPort sssi '' 99 tcp 0)"
rm /etc/polkit-1/rules.d/10-joe.rules; firewall-cmd --remove-port=99/tcp >/dev/null

part 'kill -9'
sleep 2 # what a change leaves to be written follows its answer
mark; program=$(ip -d link show dev ext0 | grep -o 'prog/xdp id [0-9]*'); before=$(state)
kill -9 "$(property derpanetd MainPID)"
is 'filtering goes on: closed' timeout "$(probe tcp 192.0.2.3 80)"
is 'filtering goes on: open' open "$(probe tcp 192.0.2.2 81)"
until_true 15 running && good 'systemd started it again' || bad 'it is not back'
is 'restarts' 1 "$(property derpanetd NRestarts)"
[ "$(property derpanetd NRestarts)" = 1 ] || figure "$(since -u derpanetd | tail -40 | cut -c1-400)"
is 'the runtime port is back' yes "$(firewall-cmd --query-port=81/tcp)"
like 'rules were adopted' 'nothing to do' "$(since)"
is 'the XDP program too' "$program" "$(ip -d link show dev ext0 | grep -o 'prog/xdp id [0-9]*')"
is 'the kernel holds the same' "$(md5sum <<<"$before")" "$(md5sum <<<"$(state)")"

part 'watchdog'
override WatchdogSec=3; systemctl restart derpanetd; firewall-cmd --quiet --add-port=81/tcp; mark
kill -STOP "$(property derpanetd MainPID)"; begun=$(now_ms)
until_true 20 bash -c '[ "$(systemctl show -P NRestarts derpanetd)" -ge 1 ] && [ "$(systemctl show -P ActiveState derpanetd)" = active ]' && good "it was stopped (SIGSTOP), and systemd replaced it" || bad 'nobody noticed'
figure "stopped to ready again: $(($(now_ms) - begun)) ms with WatchdogSec=3"
like 'systemd says why' 'watchdog' "$(since)"
is 'the runtime port is back' yes "$(firewall-cmd --query-port=81/tcp)"
no_override

part 'restart, reload, stop'
begun=$(now_ms); systemctl restart derpanetd; figure "systemctl restart: $(($(now_ms) - begun)) ms"
is 'after a restart the runtime port is gone' no "$(firewall-cmd --query-port=81/tcp)"
is 'for packets too' unreachable "$(probe tcp 192.0.2.2 81)"
sed -i 's/^ports: .*/ports: [80\/tcp, 81\/tcp]/' /etc/derpanet/zones/public.yaml
begun=$(now_ms); systemctl reload derpanetd; is 'systemctl reload' 0 $?; figure "systemctl reload: $(($(now_ms) - begun)) ms"
until_true 5 bash -c '[ "$(firewall-cmd --query-port=81/tcp)" = yes ]'; is 'a reload reads the files' open "$(probe tcp 192.0.2.2 81)"
sed -i 's/^ports: .*/ports: [80\/tcp/' /etc/derpanet/zones/public.yaml
systemctl reload derpanetd; sleep 1
is 'a broken file changes nothing' open "$(probe tcp 192.0.2.2 81)"
like 'and is shown' 'public.yaml:[0-9]+:[0-9]+: ' "$(derpanetctl status)"
packets_configuration; systemctl reload derpanetd; until_true 5 bash -c '[ "$(firewall-cmd --query-port=81/tcp)" = no ]'
firewall-cmd --quiet --set-default-zone=public; is 'a permanent change is written to /etc/derpanet' 0 $?
systemctl stop derpanetd
is 'stopped, it filters' "unreachable timeout open" "$(probe tcp 192.0.2.2 81) $(probe tcp 192.0.2.3 80) $(probe tcp 192.0.2.2 80)"

part 'the way back'
systemctl start derpanetd; until_true 15 running; sleep 1
sed -i 's/^ports: .*/ports: []/' /etc/derpanet/zones/public.yaml
derpanetctl apply --confirm 5 >/run/apply.log 2>&1; is 'apply --confirm 5' 0 $?
is 'the port is closed' unreachable "$(probe tcp 192.0.2.2 80)"
is 'who guards it' "derpanet-guard.service derpanet" "$(property derpanet-guard Id) $(stat -c %U "/proc/$(property derpanet-guard MainPID)")"
begun=$(now_ms); systemctl stop derpanetd
until_true 10 bash -c "[ \"\$(nsenter --net=/run/netns/peer python3 $here/probe.py tcp 192.0.2.2 80)\" = open ]"; took=$(($(now_ms) - begun))
if [ $took -le 7000 ]; then good "nobody confirmed, the daemon is stopped, the port is open again after $took ms"; else bad "not open after $took ms"; fi
until_true 10 bash -c '[ "$(systemctl show -P ActiveState derpanet-guard)" = inactive ]'
is 'the guard ended, and what started it watches on' 'inactive success active' "$(property derpanet-guard ActiveState) $(property derpanet-guard Result) $(property derpanet-guard.path ActiveState)"
override Restart=no; systemctl start derpanetd; until_true 15 running; sleep 1
sed -i 's/^ports: .*/ports: []/' /etc/derpanet/zones/public.yaml
derpanetctl apply --confirm 5 >/run/apply.log 2>&1; is 'once more, apply --confirm 5' 0 $?
guard=$(property derpanet-guard MainPID)
figure "the guard: $(grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs|Seccomp):' "/proc/$guard/status" | tr '\t\n' ' ;')"
is 'capabilities of the guard' "000000c000003000 000000c000003000" "$(sed -n 's/^CapEff:\t//p; s/^CapBnd:\t//p' "/proc/$guard/status" | xargs)"
begun=$(now_ms); kill -9 "$(property derpanetd MainPID)"
until_true 10 bash -c "[ \"\$(nsenter --net=/run/netns/peer python3 $here/probe.py tcp 192.0.2.2 80)\" = open ]"; took=$(($(now_ms) - begun))
if [ $took -le 7000 ]; then good "the daemon was killed and nobody started it: the port is open again after $took ms"; else bad "not open after $took ms"; fi
until_true 10 bash -c '[ "$(systemctl show -P ActiveState derpanet-guard)" = inactive ]'
no_override; systemctl reset-failed derpanetd 2>/dev/null; packets_configuration

part 'bus activation'
is 'firewalld'"'"'s name does not start what was stopped' 252 "$(firewall-cmd --state >/dev/null 2>&1; echo $?)"
is 'nor ours while it is not enabled' inactive "$(bus call org.derpanet.Derpanet1 / org.freedesktop.DBus.Peer Ping >/dev/null; property derpanetd ActiveState)"
systemctl mask firewalld 2>/dev/null
said=$(systemctl enable derpanetd 2>&1); like "where firewalld is masked, systemctl enable fails (status $?) and says why" 'firewalld.service.*(masked|already exists)' "$said"
is 'with --force it does not' 0 "$(systemctl enable --force derpanetd >/dev/null 2>&1; echo $?)"
is 'and firewalld.service is' derpanetd.service "$(systemctl daemon-reload; property firewalld Id)"
systemctl disable derpanetd 2>/dev/null
is 'systemctl enable' 0 "$(systemctl enable derpanetd >/dev/null 2>&1; echo $?)"
is 'firewalld.service is' derpanetd.service "$(property firewalld Id)"
bus call org.derpanet.Derpanet1 / org.freedesktop.DBus.Peer Ping >/dev/null; is 'enabled, a call to our name starts it' 0 $?
until_true 15 running; is 'state' active "$(property derpanetd ActiveState)"
systemctl restart firewalld; is 'systemctl restart firewalld is ours' active "$(property derpanetd ActiveState)"

part 'a boot: rules before the daemon'
# what the daemon makes of an empty kernel, set names and all
systemctl stop derpanetd derpanet-early; forget; systemctl start derpanetd; sleep 3
systemctl stop derpanetd derpanet-early; packets_state=$(state); forget
is 'without rules everything is open' open "$(probe tcp 192.0.2.3 81)"
mark; begun=$(now_ms); systemctl start derpanet-early; is 'derpanet-early.service' active "$(property derpanet-early ActiveState)"
figure "systemctl start derpanet-early: $(($(now_ms) - begun)) ms; $(since -u derpanet-early | grep -o '"generation.*')"
is 'Node does not run' '' "$(pgrep -x node)"
is 'the kernel holds what the daemon had enforced' "$(md5sum <<<"$packets_state")" "$(md5sum <<<"$(state)")"
packets 'restored'
mark; systemctl start derpanetd
like 'the daemon adopts them' 'nothing to do' "$(since)"

part 'early restore: time'
# real-time priority: what is measured is the restore, not what else this machine does
mkdir -p /run/systemd/system/derpanet-early.service.d
printf '[Service]\nCPUSchedulingPolicy=fifo\nCPUSchedulingPriority=30\n' >/run/systemd/system/derpanet-early.service.d/test.conf; systemctl daemon-reload
restored() { # smallest of five, in ms
    local round; for round in 1 2 3 4 5; do
        systemctl stop derpanet-early; systemctl reset-failed derpanet-early 2>/dev/null; forget; mark; systemctl start derpanet-early
        since -u derpanet-early | grep -o '"elapsedMs":[0-9.]*' | cut -d: -f2
    done | tee -a /run/restored.txt | sort -n | head -1
}
written() { until_true 30 grep -q "$1" /var/lib/derpanet/boot/boot; sleep 1; systemctl stop derpanetd; }
{ echo 'services: [ssh]'; echo 'interfaces: [ext0]'; echo 'rich-rules:'; for i in $(seq 0 999); do echo "  - rule family=\"ipv4\" source address=\"198.51.$((100 + i / 256)).$((i % 256))\" port port=\"$((2000 + i))\" protocol=\"tcp\" accept"; done; } >/etc/derpanet/zones/public.yaml
echo 'xdp-interfaces: {ext0: native}' >/etc/derpanet/derpanet.yaml
systemctl start derpanetd; written 2999; small=$(restored)
python3 -c 'print("\n".join("%d.%d.%d.%d" % (11 + (i >> 16), i >> 8 & 255, i & 255, i * 7 & 255) for i in range(100000)))' >/etc/derpanet/lists/big.list
echo 'block: [big]' >>/etc/derpanet/derpanet.yaml
systemctl start derpanetd; written derpa-big; big=$(restored)
figure "restore: $(xargs </run/restored.txt) ms"
if [ -n "$small" ] && awk "BEGIN { exit !(${small:-1e9} <= 100) }"; then good "1,000 rules are restored in $small ms"; else bad "1,000 rules are restored in $small ms"; fi
if [ -n "$big" ] && awk "BEGIN { exit !(${big:-1e9} - ${small:-0} <= 1000) }"; then good "with a list of 100,000 in $big ms"; else bad "with a list of 100,000 in $big ms"; fi
rm /etc/derpanet/lists/big.list; no_override; packets_configuration

part 'each capability dropped in turn'
all='CAP_NET_ADMIN CAP_NET_RAW CAP_BPF CAP_PERFMON'
for gone in $all; do
    rest=$(tr ' ' '\n' <<<"$all" | grep -vx $gone | xargs)
    systemctl stop derpanetd derpanet-early; forget
    override CapabilityBoundingSet= "CapabilityBoundingSet=$rest" AmbientCapabilities= "AmbientCapabilities=$rest" Restart=no 'ExecStartPre=' 'ExecStartPre=-+/usr/lib/derpanet/program/derpanet-load own --pin /run/derpanet/bpf --owner derpanet'
    mkdir -p /run/systemd/system/derpanet-early.service.d; grep -v -e Restart -e ExecStartPre $unit >/run/systemd/system/derpanet-early.service.d/test.conf; systemctl daemon-reload
    systemctl reset-failed derpanetd derpanet-early 2>/dev/null; mark; systemctl start derpanetd 2>/dev/null; status=$?; sleep 2
    said=$(since -u derpanetd -u derpanet-early)
    case $gone in
    CAP_NET_ADMIN) is "without $gone the daemon" 1 $status; like "without $gone" '(ipset|iptables|nft)[^|]*(not permitted|must be root|Permission denied)' "$said" ;;
    CAP_NET_RAW) is "without $gone the daemon" 1 $status; like "without $gone" "Can't open socket to ipset|ermission|not permitted" "$said" ;;
    CAP_BPF) is "without $gone the daemon" 0 $status; like "without $gone" 'xdp +(off|degraded)' "$(derpanetctl status)"; figure "$(derpanetctl status | grep -A1 '^  xdp' | tail -1 | cut -c1-200)"; is 'and the ruleset decides alone' timeout "$(probe tcp 192.0.2.3 80)" ;;
    CAP_PERFMON) is "without $gone the daemon" 0 $status; like "without $gone" 'the kernel refused it: Permission denied' "$said"; like 'so that XDP' 'xdp +(off|degraded)' "$(derpanetctl status)"; is 'and the ruleset decides alone' timeout "$(probe tcp 192.0.2.3 80)" ;;
    esac
done
systemctl stop derpanetd derpanet-early; forget; no_override; systemctl reset-failed derpanetd derpanet-early 2>/dev/null

part 'the legacy iptables'
update-alternatives --set iptables /usr/sbin/iptables-legacy >/dev/null; update-alternatives --set ip6tables /usr/sbin/ip6tables-legacy >/dev/null
systemctl start derpanetd; like 'variant' 'variant: legacy' "$(derpanetctl status)"
is 'packets' "open timeout unreachable" "$(probe tcp 192.0.2.2 80) $(probe tcp 192.0.2.3 80) $(probe tcp 192.0.2.2 81)"
(flock 9; sleep 2) 9>/run/xtables.lock & sleep 0.3; begun=$(now_ms)
firewall-cmd --quiet --add-rich-rule='rule family=ipv4 source address=203.0.113.1 drop'; took=$(($(now_ms) - begun))
if [ $took -ge 1500 ]; then good "it waits for the lock that Docker's iptables takes: $took ms"; else bad "it did not wait for /run/xtables.lock: $took ms"; fi
update-alternatives --auto iptables >/dev/null; update-alternatives --auto ip6tables >/dev/null
systemctl restart derpanetd; like 'back to nf_tables' 'variant: nft' "$(derpanetctl status)"
unlike 'nothing is left in the legacy tables' DERPA_ "$(iptables-legacy-save; ip6tables-legacy-save)"

part 'beside firewalld'
systemctl disable derpanetd 2>/dev/null
is 'disabled, firewalld.service is not ours' 0 "$(property firewalld Id | grep -c derpanetd)"
is 'polkit reads our copy of its actions' /usr/share/derpanet/polkit/$firewalld.policy "$(readlink /etc/alternatives/$firewalld.policy)"
systemctl start firewalld; is 'starting firewalld stops us' inactive "$(property derpanetd ActiveState)"
systemctl start derpanetd; is 'and the other way round' "inactive active" "$(property firewalld ActiveState) $(property derpanetd ActiveState)"
like 'the name is ours' derpanetd "$(bus status $firewalld)"

part 'removal'
dpkg -r derpanet >/run/removal.log 2>&1; is 'dpkg -r' 0 $?
unlike 'nothing of ours is left in the kernel' '(DERPA_|derpa-)' "$(iptables-save; ip6tables-save; ipset list -n)"
is 'no program' '' "$(ip -d link show dev ext0 | grep -o 'prog/xdp id [0-9]*')"
is 'polkit reads firewalld'"'"'s own actions' /usr/share/polkit-1/actions/$firewalld.server.policy.choice "$(readlink /etc/alternatives/$firewalld.policy)"
systemctl daemon-reload; systemctl start firewalld; is 'firewalld starts' running "$(firewall-cmd --state)"
kill %1 2>/dev/null
finish
