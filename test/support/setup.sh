#!/bin/bash
# Installs what derpanet's build, tests and demo need on a Debian machine, and nothing else.
# No service of an installed package is started: policy-rc.d answers "no" while apt runs.
# Usage: setup.sh [run|test]   run = what the daemon itself needs, test (default) = clients and compilers as well.
set -euo pipefail
level=${1:-test}

run_packages=(iptables ipset nftables iproute2 dbus libbpf1 libsystemd0)
test_packages=(firewalld python3-firewall python3-dbus python3-gi ebtables polkitd clang llvm gcc make g++ libbpf-dev libsystemd-dev
               libc6-dev linux-libc-dev pkg-config ethtool conntrack tcpdump iputils-ping systemd util-linux procps groff-base bpftool)
wanted=("${run_packages[@]}")
[ "$level" = run ] || wanted+=("${test_packages[@]}")

missing=()
for package in "${wanted[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" != 0 ]; then
    echo "setup: these packages are missing, and only root can install them: ${missing[*]}" >&2
    exit 1
fi
echo "setup: installing ${missing[*]}" >&2

policy=/usr/sbin/policy-rc.d
kept=
if [ -e $policy ]; then kept=$(mktemp); cp -p $policy "$kept"; fi
restore_policy() { if [ -n "$kept" ]; then cp -p "$kept" $policy; rm -f "$kept"; else rm -f $policy; fi; }
trap restore_policy EXIT
printf '#!/bin/sh\nexit 101\n' >$policy
chmod 755 $policy

log=$(mktemp)
if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    tail -30 "$log" >&2
    echo "setup: apt-get failed; the whole log is $log" >&2
    exit 1
fi
rm -f "$log"
