// A client of the firewall's D-Bus interface that is as fast as clients get (sd-bus), so that what it measures is the daemon.
// Waits for the name and the state RUNNING, then asks typical getters one after the other, and at last many at a time.
// Usage: getters FIRST WARM PIPELINED. Prints one line of JSON: microseconds of each of the first and of the later calls,
// seconds of the pipelined ones. System bus: DBUS_SYSTEM_BUS_ADDRESS.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <systemd/sd-bus.h>

#define NAME "org.fedoraproject.FirewallD1"
#define PATH "/org/fedoraproject/FirewallD1"
enum { in_flight = 64, patience_sec = 60 };

static double now_us(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1e6 + at.tv_nsec / 1e3;
}

static void fail(const char *what, int error) {
    fprintf(stderr, "getters: %s: %s\n", what, strerror(error < 0 ? -error : error));
    exit(1);
}

/** What scripts and desktops ask: a word, a list, the services and all settings of a zone, a question. */
static sd_bus_message *getter(sd_bus *bus, int number) {
    static const struct { const char *iface, *member, *types; } calls[] = {
        {NAME, "getDefaultZone", ""}, {NAME ".zone", "getZones", ""}, {NAME ".zone", "getServices", "s"},
        {NAME ".zone", "queryPort", "sss"}, {NAME ".zone", "getZoneSettings2", "s"},
    };
    const int which = number % 5;
    sd_bus_message *call = NULL;
    int r = sd_bus_message_new_method_call(bus, &call, NAME, PATH, calls[which].iface, calls[which].member);
    if (r < 0) fail("new call", r);
    sd_bus_message_set_auto_start(call, 0);
    if (!strcmp(calls[which].types, "s")) r = sd_bus_message_append(call, "s", "public");
    if (!strcmp(calls[which].types, "sss")) r = sd_bus_message_append(call, "sss", "public", "80", "tcp");
    if (r < 0) fail("append", r);
    return call;
}

static void ask(sd_bus *bus, int number) {
    sd_bus_message *call = getter(bus, number), *reply = NULL;
    sd_bus_error error = SD_BUS_ERROR_NULL;
    int r = sd_bus_call(bus, call, 0, &error, &reply);
    if (r < 0) { fprintf(stderr, "getters: %s\n", error.message); exit(1); }
    sd_bus_message_unref(reply);
    sd_bus_message_unref(call);
}

static int is_running(sd_bus *bus) {
    char *state = NULL;
    sd_bus_error error = SD_BUS_ERROR_NULL;
    int r = sd_bus_get_property_string(bus, NAME, PATH, NAME, "state", &error, &state);
    int found = r >= 0 && !strcmp(state, "RUNNING");
    sd_bus_error_free(&error);
    free(state);
    return found;
}

static int has_owner(sd_bus *bus) {
    sd_bus_message *reply = NULL;
    int owned = 0;
    int r = sd_bus_call_method(bus, "org.freedesktop.DBus", "/", "org.freedesktop.DBus", "NameHasOwner", NULL, &reply, "s", NAME);
    if (r < 0 || sd_bus_message_read(reply, "b", &owned) < 0) fail("NameHasOwner", r);
    sd_bus_message_unref(reply);
    return owned;
}

static int answered;
static int on_answer(sd_bus_message *reply, void *data, sd_bus_error *error) {
    (void)data; (void)error;
    if (sd_bus_message_is_method_error(reply, NULL)) { fprintf(stderr, "getters: %s\n", sd_bus_message_get_error(reply)->message); exit(1); }
    answered++;
    return 0;
}

static void measure(sd_bus *bus, const char *name, int count) {
    printf("\"%s\":[", name);
    for (int number = 0; number < count; number++) {
        double begun = now_us();
        ask(bus, number);
        printf("%s%.0f", number ? "," : "", now_us() - begun);
    }
    printf("],");
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    const int first = atoi(argv[1]), warm = atoi(argv[2]), pipelined = atoi(argv[3]);
    sd_bus *bus = NULL;
    int r = sd_bus_open_system(&bus);
    if (r < 0) fail("bus", r);
    for (int number = 0; number < 500; number++) has_owner(bus); // our own code is warm then
    const double end = now_us() + patience_sec * 1e6;
    while (!has_owner(bus) || !is_running(bus)) {
        if (now_us() > end) { fprintf(stderr, "getters: nobody is RUNNING\n"); return 1; }
        usleep(500);
    }
    setvbuf(stdout, NULL, _IOFBF, 1 << 20);
    printf("{");
    measure(bus, "first", first);
    measure(bus, "warm", warm);
    double begun = now_us();
    for (int sent = 0; answered < pipelined;) {
        while (sent < pipelined && sent - answered < in_flight) {
            sd_bus_message *call = getter(bus, 0);
            if ((r = sd_bus_call_async(bus, NULL, call, on_answer, NULL, 0)) < 0) fail("call", r);
            sd_bus_message_unref(call);
            sent++;
        }
        if ((r = sd_bus_process(bus, NULL)) < 0) fail("process", r);
        if (r == 0 && (r = sd_bus_wait(bus, UINT64_MAX)) < 0) fail("wait", r);
    }
    printf("\"pipelinedSec\":%.6f}\n", (now_us() - begun) / 1e6);
    return 0;
}
