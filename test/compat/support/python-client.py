# A script on python3-firewall, as configuration tools are: every family of calls, runtime and permanent, error codes, and the
# signals that tell of it. Prints `ok WHAT` or `not ok WHAT: WHY` a line, and `done` at last. Works with 1.3 and 2.3.
import time

import dbus.mainloop.glib
from gi.repository import GLib
from firewall.client import FirewallClient, FirewallClientServiceSettings, FirewallClientZoneSettings
from firewall.errors import FirewallError

dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
context = GLib.MainContext.default()
heard = []


def check(what, good, why=""):
    print(f"ok {what}" if good else f"not ok {what}: {why}", flush=True)


def same(what, got, want):
    check(what, got == want, f"{got!r}, expected {want!r}")


def refused(what, code, call):
    try:
        call()
        check(what, False, "accepted")
    except Exception as error:  # FirewallError or DBusException, by the client's age
        text = error.get_dbus_message() if hasattr(error, "get_dbus_message") else str(error)
        check(f"{what} is refused with {code}", text.startswith(code), text)


def hears(what):
    end = time.monotonic() + 20
    while what not in heard and time.monotonic() < end:
        # a reload announces hundreds of objects first, one an iteration
        if not context.iteration(False):
            GLib.usleep(10000)
    check(f"the signal {what} comes", what in heard, heard)


fw = FirewallClient()
for name in ("reloaded", "port-added", "port-removed", "service-added", "richrule-added", "panic-mode-enabled", "panic-mode-disabled", "interface-added",
             "source-added", "masquerade-added", "config:zone-added", "config:zone-updated", "config:zone-removed"):
    fw.connect(name, lambda *_args, name=name: heard.append(name))

check("connected", fw.connected)
same("state", str(fw.get_property("state")), "RUNNING")
same("default zone", str(fw.getDefaultZone()), "public")
check("zones", {"public", "drop", "trusted"} <= {str(zone) for zone in fw.getZones()})
check("services", "ssh" in [str(name) for name in fw.listServices()])
same("ports of ssh", [tuple(map(str, port)) for port in fw.getServiceSettings("ssh").getPorts()], [("22", "tcp")])
check("icmp types", "echo-request" in [str(name) for name in fw.listIcmpTypes()])
check("helpers", "ftp" in [str(name) for name in fw.getHelpers()])
check("policies", "allow-host-ipv6" in [str(name) for name in fw.getPolicies()])
settings = fw.getZoneSettings("public")
check("settings of a zone", isinstance(settings, FirewallClientZoneSettings) and "ssh" in settings.getServices())

same("addPort", str(fw.addPort("public", "8080", "tcp")), "public")
check("queryPort", fw.queryPort("public", "8080", "tcp"))
same("getPorts", [[str(part) for part in port] for port in fw.getPorts("public")], [["8080", "tcp"]])
hears("port-added")
refused("the same port again", "ALREADY_ENABLED", lambda: fw.addPort("public", "8080", "tcp"))
fw.removePort("public", "8080", "tcp")
hears("port-removed")
refused("a port that is not there", "NOT_ENABLED", lambda: fw.removePort("public", "8080", "tcp"))
refused("a bad port", "INVALID_PORT", lambda: fw.addPort("public", "70000", "tcp"))
refused("an unknown zone", "INVALID_ZONE", lambda: fw.addPort("nonesuch", "80", "tcp"))
refused("an unknown service", "INVALID_SERVICE", lambda: fw.addService("public", "nonesuch"))
fw.addService("public", "http", 60)
hears("service-added")
fw.removeService("public", "http")
fw.addRichRule("public", 'rule family="ipv4" source address="192.0.2.1" drop')
hears("richrule-added")
same("rich rules", [str(rule) for rule in fw.getRichRules("public")], ['rule family="ipv4" source address="192.0.2.1" drop'])
fw.removeRichRule("public", 'rule family="ipv4" source address="192.0.2.1" drop')
fw.addSource("drop", "203.0.113.0/24")
hears("source-added")
same("getZoneOfSource", str(fw.getZoneOfSource("203.0.113.0/24")), "drop")
refused("a source of another zone", "ZONE_CONFLICT", lambda: fw.addSource("home", "203.0.113.0/24"))
fw.removeSource("drop", "203.0.113.0/24")
fw.addInterface("home", "int0")
hears("interface-added")
same("getZoneOfInterface", str(fw.getZoneOfInterface("int0")), "home")
fw.removeInterface("home", "int0")
fw.addMasquerade("public")
hears("masquerade-added")
fw.removeMasquerade("public")
fw.addForwardPort("public", "90", "tcp", "91", "")
check("queryForwardPort", fw.queryForwardPort("public", "90", "tcp", "91", ""))
fw.removeForwardPort("public", "90", "tcp", "91", "")
fw.addIcmpBlock("public", "redirect")
check("queryIcmpBlock", fw.queryIcmpBlock("public", "redirect"))
fw.removeIcmpBlock("public", "redirect")
fw.enablePanicMode()
hears("panic-mode-enabled")
fw.disablePanicMode()
hears("panic-mode-disabled")

fw.addRule("ipv4", "filter", "INPUT", 0, ["-p", "tcp", "--dport", "7", "-j", "DROP"])
check("direct rule", fw.queryRule("ipv4", "filter", "INPUT", 0, ["-p", "tcp", "--dport", "7", "-j", "DROP"]))
fw.removeRule("ipv4", "filter", "INPUT", 0, ["-p", "tcp", "--dport", "7", "-j", "DROP"])
check("passthrough", "-P INPUT" in str(fw.passthrough("ipv4", ["-t", "filter", "-S", "INPUT"])))

config = fw.config()
zone = config.addZone("lab", FirewallClientZoneSettings())
hears("config:zone-added")
changed = zone.getSettings()
changed.addService("http")
changed.setTarget("DROP")
zone.update(changed)
hears("config:zone-updated")
same("settings after update", [str(name) for name in config.getZoneByName("lab").getSettings().getServices()], ["http"])
zone.addPort("99", "tcp")
check("permanent queryPort", zone.queryPort("99", "tcp"))
service = config.addService("lab", FirewallClientServiceSettings())
service.addPort("1234", "udp")
same("ports of a new service", [tuple(map(str, port)) for port in service.getPorts()], [("1234", "udp")])
fw.reload()
hears("reloaded")
check("the new zone runs", "lab" in [str(name) for name in fw.getZones()])
same("its target", str(fw.getZoneSettings("lab").getTarget()), "DROP")
zone = config.getZoneByName("lab")
zone.remove()
hears("config:zone-removed")
config.getServiceByName("lab").remove()
refused("a zone that is gone", "INVALID_ZONE", lambda: config.getZoneByName("lab"))
refused("a zone with a bad name", "INVALID_NAME", lambda: config.addZone("a/b/c", FirewallClientZoneSettings()))
fw.reload()
check("properties", str(config.get_property("DefaultZone")) == "public")
print("done")
