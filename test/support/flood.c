// Callers of the firewall's D-Bus interface that never pause, and one who only wants his answers: how long does he wait?
// Usage: flood SECONDS[@RATE] KIND:COUNT…   each COUNT connections of that kind, in one process; prints how many answers they got.
//                                    RATE: calls a second of all together; without it as many as go
//        flood SECONDS admin PID…    a getter every 20 ms and a port opened or closed every 250 ms, each on its own
//                                    connection; prints microseconds of each as JSON, and how long these processes (the bus,
//                                    the service) ran meanwhile: on a busy machine that is what an idle one would take
// System bus: DBUS_SYSTEM_BUS_ADDRESS, or the usual socket.
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <errno.h>
#include <systemd/sd-bus.h>

#define NAME "org.fedoraproject.FirewallD1"
#define PATH "/org/fedoraproject/FirewallD1"
enum { max_callers = 256, admin_getter_ms = 20, admin_change_ms = 250, big_entries = 40000 };

typedef enum { WAIT, PIPE, GETTER, PORT, LOOK, RULE, BIG, INTROSPECT, MUTE, DEAF, PERMANENT, RELOAD, UNKNOWN, NAMES, KINDS } kind_t;
/** How many calls a caller of a kind has under way; 0 = as many as the socket takes. */
static const struct { const char *name; int window; } kinds[KINDS] = {
    [WAIT] = {"wait", 1}, [PIPE] = {"pipe", 128}, [GETTER] = {"getter", 16}, [PORT] = {"port", 8}, [LOOK] = {"look", 8}, [RULE] = {"rule", 4}, [BIG] = {"big", 2}, [INTROSPECT] = {"introspect", 8},
    [MUTE] = {"mute", 0}, [DEAF] = {"deaf", 0}, [PERMANENT] = {"permanent", 4}, [RELOAD] = {"reload", 1}, [UNKNOWN] = {"unknown", 16}, [NAMES] = {"names", 8},
};

struct caller {
    sd_bus *bus;
    kind_t kind;
    int index, sent, answered, refused;
};
static struct caller callers[max_callers];
static int caller_count;
/** Calls that may still be sent now. */
static double allowed = 1e18;

static double now_us(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1e6 + at.tv_nsec / 1e3;
}

static void check(const char *what, int result) {
    if (result < 0) { fprintf(stderr, "flood: %s: %s\n", what, strerror(-result)); exit(1); }
}

static sd_bus_message *call_of(sd_bus *bus, const char *path, const char *iface, const char *member) {
    sd_bus_message *call = NULL;
    check("new call", sd_bus_message_new_method_call(bus, &call, NAME, path, iface, member));
    sd_bus_message_set_auto_start(call, 0);
    return call;
}

static sd_bus_message *port_call(sd_bus *bus, int port, int adds) {
    char text[16];
    snprintf(text, sizeof text, "%d", port);
    sd_bus_message *call = call_of(bus, PATH, NAME ".zone", adds ? "addPort" : "removePort");
    check("append", sd_bus_message_append(call, "sss", "public", text, "tcp"));
    if (adds) check("append", sd_bus_message_append(call, "i", 0));
    return call;
}

static sd_bus_message *next_call(struct caller *who) {
    sd_bus_message *call;
    sd_bus *bus = who->bus;
    char text[32];
    switch (who->kind) {
    case PORT: return port_call(bus, 20000 + who->index * 16 + who->sent / 2 % 16, who->sent % 2 == 0);
    case LOOK:
        call = call_of(bus, PATH, NAME ".direct", "passthrough");
        check("append", sd_bus_message_append(call, "sas", "ipv4", 3, "-t", "filter", "-S"));
        return call;
    case RULE:
        snprintf(text, sizeof text, "flood-%d", who->index);
        call = call_of(bus, PATH, NAME ".direct", "passthrough");
        check("append", sd_bus_message_append(call, "sas", "ipv4", 4, "-t", "filter", who->sent % 2 == 0 ? "-N" : "-X", text));
        return call;
    case BIG:
        call = call_of(bus, PATH, NAME ".ipset", "setEntries");
        check("append", sd_bus_message_append(call, "s", "nobody-has-it"));
        check("open", sd_bus_message_open_container(call, 'a', "s"));
        for (int entry = 0; entry < big_entries; entry++) {
            snprintf(text, sizeof text, "10.%d.%d.%d", entry >> 16 & 255, entry >> 8 & 255, entry & 255);
            check("append", sd_bus_message_append(call, "s", text));
        }
        check("close", sd_bus_message_close_container(call));
        return call;
    case INTROSPECT: return call_of(bus, PATH "/config", "org.freedesktop.DBus.Introspectable", "Introspect");
    case PERMANENT:
        snprintf(text, sizeof text, "%d", 40000 + who->index);
        call = call_of(bus, PATH "/config/zone/0", NAME ".config.zone", who->sent % 2 == 0 ? "addPort" : "removePort");
        check("append", sd_bus_message_append(call, "ss", text, "tcp"));
        return call;
    case RELOAD: return call_of(bus, PATH, NAME, "reload");
    case NAMES: return call_of(bus, PATH "/config", NAME ".config", "getZoneNames");
    case UNKNOWN: return call_of(bus, PATH, NAME ".zone", "noSuchMember");
    default:
        call = call_of(bus, PATH, NAME ".zone", "getZoneSettings2");
        check("append", sd_bus_message_append(call, "s", "public"));
        if (who->kind == MUTE) sd_bus_message_set_expect_reply(call, 0);
        return call;
    }
}

static int on_answer(sd_bus_message *reply, void *data, sd_bus_error *error) {
    (void)error;
    struct caller *who = data;
    who->answered++;
    if (sd_bus_message_is_method_error(reply, NULL)) who->refused++;
    return 0;
}

static void send_more(struct caller *who) {
    const int window = kinds[who->kind].window;
    // without a window: a batch each round, and whatever does not fit into the socket waits in this process, up to a limit
    for (int batch = 0; allowed >= 1 && (window > 0 ? who->sent - who->answered < window : batch < 64); batch++) {
        uint64_t queued = 0;
        sd_bus_get_n_queued_write(who->bus, &queued);
        if (queued > 256) return;
        sd_bus_message *call = next_call(who);
        const int r = who->kind == MUTE || who->kind == DEAF ? sd_bus_send(who->bus, call, NULL) : sd_bus_call_async(who->bus, NULL, call, on_answer, who, UINT64_MAX);
        sd_bus_message_unref(call);
        if (r == -ENOBUFS) return;
        check("send", r);
        who->sent++;
        allowed--;
    }
}

static void flood(double end, double rate) {
    struct pollfd waits[max_callers];
    // The bus accepts nobody while 64 have connected and not said Hello, and 30 more may wait in front of it: who connects to it
    // a hundred times before he reads its first answer waits for himself until it throws him out, 30 s later.
    for (int each = 0; each < caller_count; each++) {
        check("connect", sd_bus_open_system(&callers[each].bus));
        if (each % 16 != 15) continue;
        for (int known = each - 15; known <= each; known++) {
            while (sd_bus_is_ready(callers[known].bus) == 0) {
                const int r = sd_bus_process(callers[known].bus, NULL);
                check("hello", r);
                if (r == 0) check("wait", sd_bus_wait(callers[known].bus, 100000));
            }
        }
    }
    double last = now_us();
    if (rate > 0) allowed = 0;
    for (int first = 0; now_us() < end; first++) {
        if (rate > 0) {
            const double now = now_us();
            allowed += (now - last) / 1e6 * rate;
            if (allowed > rate / 10) allowed = rate / 10;
            last = now;
        }
        // the first to be asked is another one each round, so that a rate is everybody's
        for (int place = 0; place < caller_count; place++) {
            const int each = (first + place) % caller_count;
            struct caller *who = &callers[each];
            if (who->bus == NULL) { waits[each] = (struct pollfd){.fd = -1}; continue; }
            send_more(who);
            // a deaf one writes and never takes an answer
            for (int turn = 0; turn < 64; turn++) {
                const int r = who->kind == DEAF ? sd_bus_flush(who->bus) : sd_bus_process(who->bus, NULL);
                if (r < 0) { // the bus threw it out, which is its right
                    who->refused++;
                    sd_bus_unref(who->bus);
                    who->bus = NULL;
                    check("connect", sd_bus_open_system(&who->bus));
                    who->answered = who->sent;
                    break;
                }
                if (r == 0 || who->kind == DEAF) break;
            }
            // what a deaf one does not read must not keep this process awake
            waits[each] = (struct pollfd){.fd = sd_bus_get_fd(who->bus), .events = who->kind == DEAF ? 0 : POLLIN};
        }
        poll(waits, caller_count, 1);
    }
    long answered[KINDS] = {0}, refused[KINDS] = {0}, sent[KINDS] = {0};
    for (int each = 0; each < caller_count; each++) {
        answered[callers[each].kind] += callers[each].answered;
        refused[callers[each].kind] += callers[each].refused;
        sent[callers[each].kind] += callers[each].sent;
    }
    printf("{");
    for (int kind = 0; kind < KINDS; kind++) printf("%s\"%s\":{\"sent\":%ld,\"answered\":%ld,\"refused\":%ld}", kind ? "," : "", kinds[kind].name, sent[kind], answered[kind], refused[kind]);
    printf("}\n");
}

/** A call of the admin's: -1 when none is under way. */
struct wait { double begun_us, begun_cpu, next_us; int number, failed; double *samples, *cpu; int count, room; };
static char **watched;

/** How long the processes watched have run so far. */
static double cpu_us(void) {
    double sum = 0;
    for (char **pid = watched; *pid; pid++) {
        char path[64];
        double ns = 0;
        snprintf(path, sizeof path, "/proc/%s/schedstat", *pid);
        FILE *file = fopen(path, "r");
        if (file == NULL || fscanf(file, "%lf", &ns) != 1) { perror(path); exit(1); }
        fclose(file);
        sum += ns / 1e3;
    }
    return sum;
}

static int on_admin_answer(sd_bus_message *reply, void *data, sd_bus_error *error) {
    (void)error;
    struct wait *wait = data;
    const sd_bus_error *failure = sd_bus_message_get_error(reply);
    // a reload of somebody else may have taken the port away before
    if (failure != NULL && strstr(failure->message, "NOT_ENABLED") == NULL) {
        wait->failed++;
        fprintf(stderr, "flood: admin: %s: %s\n", failure->name, failure->message);
    }
    if (wait->count < wait->room) {
        wait->cpu[wait->count] = cpu_us() - wait->begun_cpu;
        wait->samples[wait->count++] = now_us() - wait->begun_us;
    }
    wait->begun_us = -1;
    return 0;
}

static void print_list(const char *name, const double *list, int count, int more, double last) {
    printf("\"%s\":[", name);
    for (int each = 0; each < count; each++) printf("%s%.0f", each ? "," : "", list[each]);
    if (more) printf("%s%.0f", count ? "," : "", last);
    printf("],");
}

static void print_samples(const char *name, const struct wait *wait) {
    char text[32];
    // one that never was answered counts with how long it has waited by now
    const int waits = wait->begun_us >= 0;
    print_list(name, wait->samples, wait->count, waits, now_us() - wait->begun_us);
    snprintf(text, sizeof text, "%sCpu", name);
    print_list(text, wait->cpu, wait->count, waits, cpu_us() - wait->begun_cpu);
    printf("\"%sFailed\":%d,\"%sWaiting\":%d", name, wait->failed, name, waits);
}

static void admin(double end) {
    struct wait waits[2] = {{.begun_us = -1, .room = 100000}, {.begun_us = -1, .room = 100000}};
    const int pauses_ms[2] = {admin_getter_ms, admin_change_ms};
    sd_bus *buses[2];
    for (int each = 0; each < 2; each++) {
        check("connect", sd_bus_open_system(&buses[each]));
        waits[each].samples = calloc(waits[each].room, sizeof(double));
        waits[each].cpu = calloc(waits[each].room, sizeof(double));
        waits[each].next_us = now_us();
    }
    const double grace = end + 10e6; // what was asked in time may be answered later
    for (double now = now_us(); now < end || ((waits[0].begun_us >= 0 || waits[1].begun_us >= 0) && now < grace); now = now_us()) {
        struct pollfd fds[2];
        for (int each = 0; each < 2; each++) {
            struct wait *wait = &waits[each];
            if (wait->begun_us < 0 && now >= wait->next_us && now < end) {
                sd_bus_message *call = each == 0 ? call_of(buses[0], PATH, NAME ".zone", "getZones") : port_call(buses[1], 19999, wait->number % 2 == 0);
                wait->number++;
                wait->begun_cpu = cpu_us();
                wait->begun_us = now_us();
                wait->next_us = wait->begun_us + pauses_ms[each] * 1e3;
                check("call", sd_bus_call_async(buses[each], NULL, call, on_admin_answer, wait, UINT64_MAX));
                sd_bus_message_unref(call);
            }
            int r;
            while ((r = sd_bus_process(buses[each], NULL)) > 0) {}
            check("process", r);
            fds[each] = (struct pollfd){.fd = sd_bus_get_fd(buses[each]), .events = POLLIN};
        }
        poll(fds, 2, 1);
    }
    printf("{");
    print_samples("getter", &waits[0]);
    printf(",");
    print_samples("change", &waits[1]);
    printf("}\n");
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    const double end = now_us() + atof(argv[1]) * 1e6;
    const char *rate = strchr(argv[1], '@');
    if (strcmp(argv[2], "admin") == 0) { watched = argv + 3; admin(end); return 0; }
    for (int word = 2; word < argc; word++) {
        char *colon = strchr(argv[word], ':');
        if (colon == NULL) return 2;
        *colon = 0;
        int kind = 0;
        while (kind < KINDS && strcmp(kinds[kind].name, argv[word]) != 0) kind++;
        if (kind == KINDS) { fprintf(stderr, "flood: no kind %s\n", argv[word]); return 2; }
        for (int count = atoi(colon + 1); count > 0 && caller_count < max_callers; count--) {
            callers[caller_count] = (struct caller){.kind = kind, .index = caller_count};
            caller_count++;
        }
    }
    flood(end, rate == NULL ? 0 : atof(rate + 1));
    return 0;
}
