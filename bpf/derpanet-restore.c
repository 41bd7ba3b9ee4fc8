// SPDX-License-Identifier: Apache-2.0
/*
 * derpanet-load restore: before the network comes up, puts into force what the daemon wrote down when its permanent
 * configuration was good: sets, rules, XDP maps, links. Nothing is done with a file that was not checked to its end
 * (boot-file.c, boot-grammar.c); tools get fixed arguments, an empty environment, checked text on standard input and a
 * time limit. The daemon adopts what it finds, by the state file that is written here in its place.
 *
 * Of the boot file, the one before it and the shipped one, the first that can be restored is: the order in which the
 * daemon itself falls back.
 */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "boot-file.h"
#include "boot-grammar.h"
#include "derpanet-load.h"
#include "layout.h"

#define TOOL_TIMEOUT_MS 30000
#define OUTPUT_MAX ((size_t)4 << 20)

static const char *const tool_dirs[] = { "/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin", NULL };

static double now_ms(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec * 1e3 + at.tv_nsec / 1e6;
}

/* ---- tools --------------------------------------------------------------------------------------------------------- */

struct tool {
	const char *name;
	pid_t pid;
	int input, output, errors; /* memory files; -1 = none */
	double deadline;
};

/* A growing text in a memory file. */
struct text {
	FILE *file;
	int fd;
};

static bool open_text(struct text *text, const char *name)
{
	text->fd = memfd_create(name, MFD_CLOEXEC);
	text->file = text->fd < 0 ? NULL : fdopen(dup(text->fd), "w");
	return text->file != NULL;
}

/* Ready to be read from its beginning; -1 when it could not be written. */
static int finish_text(struct text *text)
{
	bool fine = text->file && !fflush(text->file) && !ferror(text->file);

	if (text->file)
		fclose(text->file);
	if (fine && lseek(text->fd, 0, SEEK_SET) == 0)
		return text->fd;
	if (text->fd >= 0)
		close(text->fd);
	return -1;
}

static void start_tool(struct tool *tool, const char *const *argv, int input)
{
	static char *const no_environment[] = { NULL };
	char path[PATH_BYTES];

	*tool = (struct tool){ .name = argv[0], .input = input, .deadline = now_ms() + TOOL_TIMEOUT_MS };
	tool->output = memfd_create("output", MFD_CLOEXEC);
	tool->errors = memfd_create("errors", MFD_CLOEXEC);
	tool->pid = fork();
	if (tool->pid)
		return;
	setpgid(0, 0);
	dup2(input >= 0 ? input : open("/dev/null", O_RDONLY), 0);
	dup2(tool->output, 1);
	dup2(tool->errors, 2);
	for (const char *const *dir = tool_dirs; *dir; dir++) {
		make_path(path, "%s/%s", *dir, argv[0]);
		execve(path, (char *const *)argv, no_environment);
		if (errno != ENOENT)
			break;
	}
	dprintf(2, "%s: %s", argv[0], strerror(errno));
	_exit(127);
}

static void read_back(int fd, char *text, size_t size)
{
	ssize_t got = fd < 0 ? 0 : pread(fd, text, size - 1, 0);

	text[got < 0 ? 0 : got] = 0;
}

/* Waits for its end. true for exit status 0; else `problem` says what it said. `output`, when given, is to be freed. */
static bool finish_tool(struct tool *tool, char problem[256], char **output)
{
	struct pollfd poll_fd = { .fd = tool->pid > 0 ? syscall(SYS_pidfd_open, tool->pid, 0) : -1, .events = POLLIN };
	double left = tool->deadline - now_ms();
	int status = -1;
	char said[200];

	problem[0] = 0;
	if (tool->pid > 0) {
		/* without pidfd (nspawn before 2020) there is no limit but systemd's */
		if (poll_fd.fd >= 0 && poll(&poll_fd, 1, left > 0 ? (int)left : 0) == 0) {
			kill(-tool->pid, SIGKILL);
			snprintf(problem, 256, "%s: no end after %d ms, killed", tool->name, TOOL_TIMEOUT_MS);
		}
		while (waitpid(tool->pid, &status, 0) < 0 && errno == EINTR)
			;
	}
	if (poll_fd.fd >= 0)
		close(poll_fd.fd);
	if (!problem[0] && status != 0) {
		read_back(tool->errors, said, sizeof(said));
		said[strcspn(said, "\n")] = 0;
		snprintf(problem, 256, "%s: status %d: %s", tool->name, WIFEXITED(status) ? WEXITSTATUS(status) : -1, said);
	}
	if (output) {
		*output = malloc(OUTPUT_MAX);
		if (*output)
			read_back(tool->output, *output, OUTPUT_MAX);
	}
	if (tool->input >= 0)
		close(tool->input);
	close(tool->output);
	close(tool->errors);
	return !problem[0];
}

static bool run_tool(const char *const *argv, int input, char problem[256], char **output)
{
	struct tool tool;

	start_tool(&tool, argv, input);
	return finish_tool(&tool, problem, output);
}

/* ---- sets ---------------------------------------------------------------------------------------------------------- */

static void print_element(FILE *to, const char *head, const uint32_t *addr, bool inet6, unsigned int length)
{
	fputs(head, to);
	if (inet6)
		fprintf(to, "%x:%x:%x:%x:%x:%x:%x:%x/%u\n", addr[0] >> 16, addr[0] & 0xffff, addr[1] >> 16, addr[1] & 0xffff, addr[2] >> 16, addr[2] & 0xffff,
			addr[3] >> 16, addr[3] & 0xffff, length);
	else
		fprintf(to, "%u.%u.%u.%u/%u\n", addr[0] >> 24, addr[0] >> 16 & 255, addr[0] >> 8 & 255, addr[0] & 255, length);
}

static bool print_elements(FILE *to, const char *dir, const char *line, char problem[256])
{
	struct boot_elements elements;
	bool fine = read_elements(dir, line, &elements, problem);
	const unsigned char *addrs = elements.blob.bytes + 16;
	size_t words = elements.inet6 ? 4 : 1;
	char head[64];

	snprintf(head, sizeof(head), "add %s ", elements.name);
	for (size_t i = 0; fine && i < elements.blob.count; i++) {
		unsigned int length = addrs[elements.blob.count * words * 4 + i];
		uint32_t addr[4];

		memcpy(addr, addrs + i * words * 4, words * 4);
		if (length == 0) { /* hash:net holds no /0: two halves say the same */
			print_element(to, head, (uint32_t[4]){ 0 }, elements.inet6, 1);
			print_element(to, head, (uint32_t[4]){ 0x80000000 }, elements.inet6, 1);
		} else {
			print_element(to, head, addr, elements.inet6, length);
		}
	}
	free(elements.blob.bytes);
	return fine;
}

static int sets_text(const struct boot_file *file, const char *dir, char problem[256])
{
	struct text text;
	bool fine = open_text(&text, "sets");

	for (unsigned int i = 0; fine && i < file->sets.count; i++) {
		const char *line = file->sets.lines[i];

		if (is_elements_line(line))
			fine = print_elements(text.file, dir, line, problem);
		else
			fprintf(text.file, "%s\n", line);
	}
	if (!fine) {
		finish_text(&text);
		return -1;
	}
	return finish_text(&text);
}

/* Sets of these names that somebody who died half way left: nothing refers to them, and what they hold is not known. */
static void destroy_sets(const struct boot_file *file)
{
	char name[32], problem[256];

	for (unsigned int i = 0; i < file->sets.count; i++)
		if (sscanf(file->sets.lines[i], "create %31s", name) == 1)
			run_tool((const char *const[]){ "ipset", "destroy", name, NULL }, -1, problem, NULL);
}

/* ---- rules --------------------------------------------------------------------------------------------------------- */

static int lines_text(const struct boot_section *section)
{
	struct text text;

	if (open_text(&text, "rules"))
		for (unsigned int i = 0; i < section->count; i++)
			fprintf(text.file, "%s\n", section->lines[i]);
	return finish_text(&text);
}

/* What `iptables` is on this host. */
static const char *find_variant(void)
{
	char problem[256], *said = NULL;
	const char *variant = "legacy";

	if (run_tool((const char *const[]){ "iptables", "--version", NULL }, -1, problem, &said) && said && strstr(said, "nf_tables"))
		variant = "nft";
	free(said);
	return variant;
}

static void start_rules(struct tool *tool, const char *variant, bool inet6, int input)
{
	const char *name = !strcmp(variant, "nft") ? (inet6 ? "ip6tables-nft-restore" : "iptables-nft-restore")
						   : (inet6 ? "ip6tables-legacy-restore" : "iptables-legacy-restore");

	start_tool(tool, (const char *const[]){ name, "--noflush", "-w", "5", NULL }, input);
}

/* ---- what the daemon will want to know ----------------------------------------------------------------------------- */

/* Does `nft list chains` say that ip/TABLE or ip/TABLE/CHAIN is there? */
static bool is_listed(const char *listed, const char *family, const char *entry)
{
	char table[24] = "", chain[24] = "", heading[80], row[64];
	const char *at, *end;

	if (sscanf(entry, "%*[^/]/%23[^/]/%23s", table, chain) < 1)
		return true;
	snprintf(heading, sizeof(heading), "table %s %s {\n", family, table);
	at = listed ? strstr(listed, heading) : NULL;
	if (!at || !chain[0])
		return at != NULL;
	end = strstr(at, "\n}");
	snprintf(row, sizeof(row), "\n\tchain %s {", chain);
	at = strstr(at, row);
	return at && (!end || at < end);
}

static bool write_state(const struct boot_file *file, const char *variant, char *const listed[2], const char *run, char problem[256])
{
	int dir = open_without_links(run), fd;
	const char *comma = "";
	FILE *to = NULL;
	bool fine;

	if (dir < 0) {
		snprintf(problem, 256, "%s: %s", run, strerror(errno));
		return false;
	}
	fd = openat(dir, "netfilter.json.new", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0)
		to = fdopen(fd, "w");
	if (to) {
		fprintf(to, "%s,\"variant\":\"%s\",\"created\":[", file->state, variant);
		for (unsigned int i = 0; i < file->created.count && !strcmp(variant, "nft"); i++) {
			const char *entry = file->created.lines[i];
			bool inet6 = !strncmp(entry, "ip6/", 4);

			if (is_listed(listed[inet6], inet6 ? "ip6" : "ip", entry))
				continue;
			fprintf(to, "%s\"%s\"", comma, entry);
			comma = ",";
		}
		fputs("]}", to);
	}
	fine = to && !ferror(to);
	if (to && fclose(to))
		fine = false;
	if (!fine || renameat(dir, "netfilter.json.new", dir, "netfilter.json")) {
		snprintf(problem, 256, "%s/netfilter.json: %s", run, strerror(errno));
		fine = false;
	}
	close(dir);
	return fine;
}

/* ---- XDP ----------------------------------------------------------------------------------------------------------- */

/* What SHA256.xdp holds, then `rules` times u32 slot, struct dp_rule. */
struct image {
	char magic[8];
	__u32 layout;
	__u32 rules;
	struct dp_table tables[2];
	struct dp_class classes[DP_CLASSES];
	struct dp_failsafe failsafe;
};

struct image_rule {
	__u32 slot;
	struct dp_rule rule;
};

static int open_map(const char *pins, const char *version, const char *name)
{
	char path[PATH_BYTES];

	make_path(path, "%s/%s/maps/%s", pins, version, name);
	return bpf_obj_get(path);
}

static bool set_element(const char *pins, const char *version, const char *name, __u32 key, const void *value)
{
	int map = open_map(pins, version, name);
	bool fine = map >= 0 && !bpf_map_update_elem(map, &key, value, BPF_ANY);

	if (map >= 0)
		close(map);
	return fine;
}

static bool fill_pages(const char *pins, const char *version, __u32 index, const struct boot_blob *pages)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_INNER_MAP);
	int map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "dp_page_array", sizeof(__u32), DP_PAGE_BYTES, pages->count, &options);
	bool fine = map >= 0;

	for (__u32 page = 0; fine && page < pages->count; page++)
		fine = !bpf_map_update_elem(map, &page, pages->bytes + (size_t)page * DP_PAGE_BYTES, BPF_ANY);
	fine = fine && set_element(pins, version, "dp_pages", index, &map);
	if (map >= 0)
		close(map);
	return fine;
}

/* Fills half 0 of a program that has never decided anything. NULL when done. */
static const char *fill_maps(const struct boot_file *file, const char *pins, const char *version)
{
	const struct image *image = (const void *)file->xdp.bytes;
	const struct image_rule *rules = (const void *)(image + 1);
	__u32 key = DP_CONTROL_SWITCH, word = 0;
	int control, classes;
	bool fine = true;

	if (file->xdp.size < sizeof(*image) || memcmp(image->magic, "DPXDP1\n", 8) || image->layout != DP_LAYOUT_VERSION || file->layout != DP_LAYOUT_VERSION)
		return "written for another layout";
	if (image->rules > DP_SLOTS || file->xdp.size != sizeof(*image) + image->rules * sizeof(*rules))
		return "not an image";
	control = open_map(pins, version, "dp_control");
	if (control < 0 || bpf_map_lookup_elem(control, &key, &word))
		return "no maps";
	close(control);
	if (word)
		return "the program already decides by something";
	for (int family = 0; fine && family < 2; family++) {
		if (file->pages[family].count)
			fine = fill_pages(pins, version, family, &file->pages[family]);
		fine = fine && set_element(pins, version, "dp_tables", family, &image->tables[family]);
	}
	classes = open_map(pins, version, "dp_classes");
	for (key = 0; fine && key < DP_CLASSES; key++)
		if (image->classes[key].action)
			fine = !bpf_map_update_elem(classes, &key, &image->classes[key], BPF_ANY);
	if (classes >= 0)
		close(classes);
	fine = fine && set_element(pins, version, "dp_failsafe", 0, &image->failsafe);
	for (__u32 i = 0; fine && i < image->rules; i++)
		fine = rules[i].slot < DP_SLOTS && set_element(pins, version, "dp_rules", rules[i].slot, &rules[i].rule);
	word = 1 << DP_SWITCH_GENERATION_SHIFT;
	fine = fine && set_element(pins, version, "dp_control", DP_CONTROL_SWITCH, &word);
	return fine ? NULL : "a map could not be written";
}

/* Loads the program in a process of its own, which ends with 0 when it is there. */
static pid_t start_load(const char *pins)
{
	pid_t pid = fork();
	int dir;

	if (pid)
		return pid;
	dir = open_pin_dir(pins, NULL);
	exit(dir < 0 ? -dir : command_load(pins, NULL));
}

/* Never fails the restore: without it the ruleset decides alone. Returns how many links carry the program. */
static unsigned int restore_xdp(const struct boot_file *file, const char *pins)
{
	char version[NAME_MAX + 1], path[PATH_BYTES];
	struct dp_link row = { .flags = DP_LINK_ENFORCE };
	unsigned int attached = 0;
	const char *problem;
	int prog, dir = open_pin_dir(pins, NULL);

	if (dir < 0)
		return 0;
	if (find_version(pins, version, "", false) || !version[0]) {
		close(dir);
		return 0;
	}
	problem = fill_maps(file, pins, version);
	if (problem) {
		fail(0, "XDP is left to the daemon: %s", problem);
		close(dir);
		return 0;
	}
	make_path(path, "%s/%s/prog", pins, version);
	prog = bpf_obj_get(path);
	for (unsigned int i = 0; prog >= 0 && i < file->link_count; i++) {
		/* one that is not there yet gets the program from the daemon, like any new one */
		__u32 ifindex = if_nametoindex(file->links[i].name);

		if (ifindex && set_element(pins, version, "dp_links", ifindex, &row))
			attached += !attach_one(pins, file->links[i].name, prog, file->links[i].generic, false);
	}
	close(dir);
	return attached;
}

/* ---- the whole ----------------------------------------------------------------------------------------------------- */

enum outcome { RESTORED, TRY_NEXT, GIVE_UP };

static enum outcome restore_file(const struct boot_file *file, const char *dir, const struct restore_options *options, const char *from)
{
	const char *variant = strcmp(file->variant, "auto") ? file->variant : find_variant();
	const char *const restore_sets[] = { "ipset", "restore", NULL };
	char problem[2][256] = { "", "" }, said[256], *listed[2] = { NULL, NULL };
	double started = now_ms(), in_force;
	struct tool sets, rules[2], lists[2];
	bool nft = !strcmp(variant, "nft") && file->created.count > 0, fine;
	unsigned int attached = 0;
	int input, inputs[2], status = -1;
	pid_t program = 0;

	input = sets_text(file, dir, problem[0]);
	if (input < 0) {
		fail(0, "%s: sets: %s", from, problem[0]);
		return TRY_NEXT;
	}
	start_tool(&sets, restore_sets, input);
	for (int family = 0; nft && family < 2; family++)
		start_tool(&lists[family], (const char *const[]){ "nft", "list", "chains", family ? "ip6" : "ip", NULL }, -1);
	/* while they run: the kernel checks the program, which takes as long as all the rest */
	if (file->layout)
		program = start_load(options->pins);
	for (int family = 0; nft && family < 2; family++)
		if (!finish_tool(&lists[family], said, &listed[family]))
			fail(0, "%s: what is there before us is not known: %s", from, said);
	if (!finish_tool(&sets, problem[0], NULL)) {
		destroy_sets(file);
		input = sets_text(file, dir, said);
		if (input < 0 || !run_tool(restore_sets, input, said, NULL)) {
			fail(0, "%s: sets: %s", from, problem[0]);
			destroy_sets(file);
			free(listed[0]);
			free(listed[1]);
			return TRY_NEXT;
		}
	}
	inputs[0] = lines_text(&file->rules4);
	inputs[1] = lines_text(&file->rules6);
	if (inputs[0] < 0 || inputs[1] < 0) {
		fail(0, "%s: rules: %s", from, strerror(errno));
		destroy_sets(file);
		free(listed[0]);
		free(listed[1]);
		return TRY_NEXT;
	}
	for (int family = 0; family < 2; family++)
		start_rules(&rules[family], variant, family, inputs[family]);
	fine = finish_tool(&rules[0], problem[0], NULL);
	if (!finish_tool(&rules[1], problem[1], NULL)) {
		/* a kernel without IPv6 (ipv6.disable=1) has nothing to filter there */
		if (access("/proc/net/if_inet6", F_OK))
			problem[1][0] = 0;
		else
			fine = false;
	}
	in_force = now_ms();
	if (!write_state(file, variant, listed, options->run, said))
		fail(0, "%s: the daemon will load the sets anew: %s", from, said);
	free(listed[0]);
	free(listed[1]);
	if (!fine) {
		fail(0, "%s: rules: %s%s%s", from, problem[0], problem[0][0] && problem[1][0] ? "; " : "", problem[1]);
		return GIVE_UP;
	}
	if (program > 0 && waitpid(program, &status, 0) == program && status == 0)
		attached = restore_xdp(file, options->pins);
	printf("{\"restored\":true,\"from\":");
	print_text(from);
	printf(",\"generation\":%lu,\"variant\":\"%s\",\"attached\":%u,\"inForceMs\":%.1f,\"elapsedMs\":%.1f}\n", file->generation, variant, attached,
	       in_force - started, now_ms() - started);
	return RESTORED;
}

int command_restore(const struct restore_options *options)
{
	const struct {
		const char *dir, *name;
	} candidates[] = { { options->boot, "boot" }, { options->boot, "boot.previous" }, { options->fallback, "boot" } };
	static struct boot_file file;
	char path[PATH_BYTES];

	setvbuf(stdout, NULL, _IOLBF, 0); /* children share it */
	if (options->check) {
		if (!read_boot_file(options->boot, options->check, &file))
			return fail(EXIT_BOOT, "%s/%s: %s", options->boot, options->check, file.problem);
		printf("{\"valid\":true,\"generation\":%lu}\n", file.generation);
		return EXIT_DONE;
	}
	make_path(path, "%s/netfilter.json", options->run);
	if (!access(path, F_OK)) {
		puts("{\"restored\":false,\"reason\":\"derpanet has been here since the boot\"}");
		return EXIT_DONE;
	}
	for (size_t i = 0; i < sizeof(candidates) / sizeof(candidates[0]); i++) {
		enum outcome outcome = TRY_NEXT;

		if (!candidates[i].dir)
			continue;
		make_path(path, "%s/%s", candidates[i].dir, candidates[i].name);
		if (read_boot_file(candidates[i].dir, candidates[i].name, &file))
			outcome = restore_file(&file, candidates[i].dir, options, path);
		else
			fail(0, "%s: %s", path, file.problem);
		free_boot_file(&file);
		if (outcome == RESTORED)
			return EXIT_DONE;
		if (outcome == GIVE_UP)
			return EXIT_BOOT;
	}
	return fail(EXIT_BOOT, "nothing could be restored; the daemon will do it");
}
