// The least a service on the bus can be: owns firewalld's name, looks at each message's header and answers with nothing in it.
// What a caller waits beside a flood on this one, no daemon can do better on that bus: the rest is the bus's own time.
// Usage: null-service all|admin   all = every call that wants an answer gets one, the admin's (getZones, addPort, removePort)
//                                 before those that wait in this process; admin = only the admin's
// System bus: DBUS_SYSTEM_BUS_ADDRESS (unix:path=…), or the usual socket.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BUS "org.freedesktop.DBus"
enum { read_bytes = 1 << 18, send_buffer = 2304, call = 1, reply = 2, no_reply = 1 };

static int bus;
static uint32_t serial = 1;

struct queue { unsigned char *bytes; size_t from, to, room; };
/** What is being sent: whole messages. Others wait behind the admin's. */
static struct queue sending, admins, others;

static void die(const char *what) { perror(what); exit(1); }

static void put(struct queue *queue, const void *bytes, size_t count) {
    if (queue->from == queue->to) queue->from = queue->to = 0;
    if (queue->to + count > queue->room) {
        queue->room = (queue->to + count) * 2;
        if ((queue->bytes = realloc(queue->bytes, queue->room)) == NULL) die("realloc");
    }
    memcpy(queue->bytes + queue->to, bytes, count);
    queue->to += count;
}

static size_t padded(size_t at, size_t to) { return (at + to - 1) / to * to; }

/** A text field; `at` is a multiple of 8. Returns where it ends. */
static size_t text_field(unsigned char *bytes, size_t at, char code, char type, const char *text) {
    const uint32_t length = strlen(text);
    at = padded(at, 8);
    bytes[at] = code, bytes[at + 1] = 1, bytes[at + 2] = type, bytes[at + 3] = 0;
    memcpy(bytes + at + 4, &length, 4);
    memcpy(bytes + at + 8, text, length + 1);
    return at + 9 + length;
}

static void send_message(struct queue *queue, int type, const char *member, const char *signature, const void *body, uint32_t body_length, const char *destination, uint32_t reply_serial) {
    unsigned char bytes[1024] = {'l', type, type == reply ? no_reply : 0, 1};
    const uint32_t own = serial++;
    memcpy(bytes + 4, &body_length, 4);
    memcpy(bytes + 8, &own, 4);
    size_t at = 16;
    if (type == call) {
        at = text_field(bytes, at, 1, 'o', "/org/freedesktop/DBus");
        at = text_field(bytes, at, 2, 's', BUS);
        at = text_field(bytes, at, 3, 's', member);
    } else {
        at = padded(at, 8);
        memcpy(bytes + at, "\5\1u", 4);
        memcpy(bytes + at + 4, &reply_serial, 4);
        at += 8;
    }
    at = text_field(bytes, at, 6, 's', destination);
    if (signature[0] != 0) {
        at = padded(at, 8);
        bytes[at] = 8, bytes[at + 1] = 1, bytes[at + 2] = 'g', bytes[at + 3] = 0, bytes[at + 4] = strlen(signature);
        memcpy(bytes + at + 5, signature, strlen(signature) + 1);
        at += 6 + strlen(signature);
    }
    const uint32_t fields = at - 16;
    memcpy(bytes + 12, &fields, 4);
    at = padded(at, 8);
    put(queue, bytes, at);
    put(queue, body, body_length);
}

static void flush(void) {
    for (;;) {
        if (sending.from == sending.to) {
            struct queue *next = admins.to > admins.from ? &admins : &others;
            if (next->from == next->to) return;
            // of the others one at a time
            size_t count = next->to - next->from;
            if (next == &others) {
                uint32_t fields;
                memcpy(&fields, next->bytes + next->from + 12, 4);
                count = padded(16 + fields, 8);
            }
            put(&sending, next->bytes + next->from, count);
            next->from += count;
        }
        const ssize_t sent = write(bus, sending.bytes + sending.from, sending.to - sending.from);
        if (sent < 0 && errno == EAGAIN) return;
        if (sent < 0) die("write");
        sending.from += sent;
    }
}

static void take(const unsigned char *message, int answers_all) {
    if (message[1] != call || (message[2] & no_reply) != 0) return;
    uint32_t fields, asked;
    memcpy(&fields, message + 12, 4);
    memcpy(&asked, message + 8, 4);
    const char *member = "", *sender = "";
    for (size_t at = 16; at < 16 + fields;) {
        at = padded(at, 8);
        const int code = message[at];
        const char type = message[at + 2];
        at += 4;
        uint32_t length;
        memcpy(&length, message + at, 4);
        if (type == 'u') { at += 4; continue; }
        if (type == 'g') { at += message[at] + 2; continue; }
        if (code == 3) member = (const char *)message + at + 4;
        if (code == 7) sender = (const char *)message + at + 4;
        at += 4 + length + 1;
    }
    const int is_admin = strcmp(member, "getZones") == 0 || strcmp(member, "addPort") == 0 || strcmp(member, "removePort") == 0;
    if (is_admin || answers_all) send_message(is_admin ? &admins : &others, reply, NULL, "", NULL, 0, sender, asked);
}

static void read_exactly(char *text, const char *end) {
    for (size_t at = 0; strstr(text, end) == NULL;) {
        const ssize_t got = read(bus, text + at, 1);
        if (got != 1) die("authentication");
        text[at += got] = 0;
    }
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    const int answers_all = strcmp(argv[1], "all") == 0;
    const char *address = getenv("DBUS_SYSTEM_BUS_ADDRESS");
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    snprintf(path.sun_path, sizeof path.sun_path, "%s", address == NULL ? "/run/dbus/system_bus_socket" : address + strlen("unix:path="));
    bus = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(bus, (void *)&path, sizeof path) != 0) die("connect");
    char text[256], said[256] = "";
    char uid[16], hex[33] = "";
    snprintf(uid, sizeof uid, "%d", getuid());
    for (char *digit = uid; *digit; digit++) sprintf(hex + strlen(hex), "%02x", *digit);
    const int length = snprintf(text, sizeof text, "%cAUTH EXTERNAL %s\r\n", 0, hex);
    if (write(bus, text, length) != length) die("write");
    read_exactly(said, "\r\n");
    if (write(bus, "BEGIN\r\n", 7) != 7) die("write");
    const int window = send_buffer;
    if (setsockopt(bus, SOL_SOCKET, SO_SNDBUF, &window, sizeof window) != 0) die("SO_SNDBUF");
    if (fcntl(bus, F_SETFL, O_NONBLOCK) != 0) die("fcntl");
    send_message(&admins, call, "Hello", "", NULL, 0, BUS, 0);
    static const char name[] = "org.fedoraproject.FirewallD1";
    unsigned char body[64] = {sizeof name - 1};
    memcpy(body + 4, name, sizeof name);
    body[padded(4 + sizeof name, 4)] = 4;
    send_message(&admins, call, "RequestName", "su", body, padded(4 + sizeof name, 4) + 4, BUS, 0);
    unsigned char *in = malloc(1 << 28);
    size_t have = 0, from = 0;
    for (;;) {
        flush();
        struct pollfd wait = {bus, POLLIN | (sending.from < sending.to ? POLLOUT : 0), 0};
        poll(&wait, 1, -1);
        const ssize_t got = read(bus, in + have, read_bytes);
        if (got == 0) return 0;
        if (got < 0 && errno != EAGAIN) die("read");
        if (got > 0) have += got;
        while (have - from >= 16) {
            uint32_t body_length, fields;
            memcpy(&body_length, in + from + 4, 4);
            memcpy(&fields, in + from + 12, 4);
            const size_t whole = padded(16 + fields, 8) + body_length;
            if (have - from < whole) break;
            take(in + from, answers_all);
            from += whole;
        }
        memmove(in, in + from, have - from);
        have -= from;
        from = 0;
    }
}
