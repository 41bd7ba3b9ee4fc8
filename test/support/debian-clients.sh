#!/bin/bash
# Fetches firewall-cmd and python3-firewall of a Debian release from its archive and unpacks them; nothing is installed.
# Prints the folder they are in. What was fetched is kept: a second call needs no network.
# Usage: debian-clients.sh bookworm|trixie
set -euo pipefail
suite=$1
kept=${DERPANET_TEST_CACHE:-/var/cache/derpanet-test}/clients-$suite
if [ -e "$kept/usr/bin/firewall-cmd" ]; then echo "$kept"; exit 0; fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{lists/partial,archives/partial,root}
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${DERPANET_DEBIAN_MIRROR:-http://deb.debian.org/debian} $suite main" >"$work/sources.list"
apt=(apt-get -qq -o Dir::State="$work" -o Dir::State::Lists="$work/lists" -o Dir::State::status=/dev/null -o Dir::Cache="$work" -o Dir::Etc::sourcelist="$work/sources.list"
     -o Dir::Etc::sourceparts=/dev/null -o Acquire::Languages=none -o APT::Sandbox::User=root -o Acquire::Retries=3)
"${apt[@]}" update >&2
(cd "$work" && "${apt[@]}" download firewalld python3-firewall >&2)
for package in "$work"/*.deb; do dpkg-deb -x "$package" "$work/root"; done
for package in "$work"/*.deb; do dpkg-deb -f "$package" Package Version | tr '\n' ' '; echo; done >"$work/root/versions"
mkdir -p "$(dirname "$kept")"
rm -rf "$kept"
chmod 755 "$work/root"
mv "$work/root" "$kept"
echo "$kept"
