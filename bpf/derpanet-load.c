// SPDX-License-Identifier: Apache-2.0
/*
 * derpanet-load: the one program that loads, pins, attaches and detaches derpanet's XDP program. Small, on libbpf, needs no
 * running daemon, exits. The daemon only writes the maps it finds below the pins. See usage() for the commands, and
 * docs/adr/0003-source-table.md for what the maps hold.
 *
 * Pins, below a directory of a BPF file system that belongs to us:
 *   DIR/vLAYOUT-HASH/prog        the program; written last: without it the directory is a leftover of a crash
 *   DIR/vLAYOUT-HASH/maps/dp_*   its maps; an object of the same layout takes them over from its predecessor
 *   DIR/links/IFNAME             one bpf_link an interface (a bpffs forbids dots: other characters than [A-Za-z0-9_-] are %XX)
 */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "derpanet-load.h"
#include "layout.h"

#define PROG_NAME "derpanet_xdp"
#ifndef BPF_F_XDP_HAS_FRAGS
#define BPF_F_XDP_HAS_FRAGS (1U << 5)
#endif

static char libbpf_said[4096];

static void usage(FILE *to)
{
	fputs("derpanet-load - load, pin and attach derpanet's XDP program; prints one JSON object a line\n"
	      "\n"
	      "  derpanet-load load   --pin DIR [--object FILE] [--mount] [--owner USER]\n"
	      "                                                    load, or adopt what is pinned; switch existing links over\n"
	      "  derpanet-load attach --pin DIR --mode native|generic|auto IFNAME...\n"
	      "                                                    auto: native, but not where that takes speed from accepted traffic\n"
	      "  derpanet-load detach --pin DIR IFNAME...          our link only; what is not attached is fine\n"
	      "  derpanet-load status --pin DIR [--json]           program and links\n"
	      "  derpanet-load unload --pin DIR                    detach everywhere, remove every pin\n"
	      "  derpanet-load own    --pin DIR --owner USER       give DIR away, nothing else\n"
	      "  derpanet-load restore --boot DIR --run DIR --pin DIR [--fallback DIR]\n"
	      "                                                    at boot: the rules, sets and links of the last good configuration\n"
	      "  derpanet-load restore --check NAME --boot DIR     is the boot file of that name fit to be restored?\n"
	      "  derpanet-load --help\n"
	      "\n"
	      "DIR is an absolute path without symbolic links on a BPF file system, owned by the caller (or anybody,\n"
	      "for root) and writable by nobody else.\n"
	      "--owner gives a DIR of root's to that user. Root works as the owner of DIR: pins belong to whom DIR belongs to.\n"
	      "FILE is derpanet.bpf.o beside this program unless given. --mount makes and mounts DIR when it is not there yet (mode 0700).\n"
	      "Works in the network namespace it is started in.\n"
	      "A foreign XDP program is never replaced: attach reports \"busy\" and leaves it.\n"
	      "\n"
	      "Exit status: 0 done; 1 some interface refused (its line says why); 2 usage; 3 pin directory; 4 the kernel refused the program;\n"
	      "5 nothing could be restored.\n", to);
}

/* ---- output ------------------------------------------------------------------------------------------------------ */

void print_text(const char *text)
{
	putchar('"');
	for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
		if (*at == '"' || *at == '\\')
			printf("\\%c", *at);
		else if (*at < 0x20 || *at >= 0x7f)
			printf("\\u%04x", *at);
		else
			putchar(*at);
	}
	putchar('"');
}

int fail(int status, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	printf("{\"error\":");
	print_text(text);
	if (libbpf_said[0]) {
		printf(",\"libbpf\":");
		print_text(libbpf_said);
	}
	puts("}");
	return status;
}

/* libbpf's last warnings. Of a refused program that is the end of the verifier's log, which says why. */
static int keep_warning(enum libbpf_print_level level, const char *format, va_list args)
{
	static char text[65536];
	size_t used = strlen(libbpf_said), length;
	const char *tail = text;

	if (level != LIBBPF_WARN)
		return 0;
	vsnprintf(text, sizeof(text), format, args);
	length = strlen(text);
	if (length > sizeof(libbpf_said) / 2) {
		tail = text + length - sizeof(libbpf_said) / 2;
		length = sizeof(libbpf_said) / 2;
	}
	if (used + length >= sizeof(libbpf_said))
		used = 0;
	memcpy(libbpf_said + used, tail, length + 1);
	return 0;
}

/* A path too long for its buffer is a bug or an attack, never something to work on in part. Directories are bounded by open_pin_dir(). */
void make_path(char path[PATH_BYTES], const char *format, ...)
{
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(path, PATH_BYTES, format, args);
	va_end(args);
	if (length < 0 || length >= PATH_BYTES)
		exit(fail(EXIT_PINS, "path too long"));
}

/* ---- pins -------------------------------------------------------------------------------------------------------- */

/* Opens a directory by an absolute path without symbolic links in it. -1 with errno; ELOOP or ENOTDIR where there is a link. */
int open_without_links(const char *dir)
{
	struct open_how how = { .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS };
	char path[PATH_BYTES], *rest = path, *name;
	int fd = syscall(SYS_openat2, AT_FDCWD, dir, &how, sizeof(how)), next;

	/* systemd-nspawn and older container run times answer ENOSYS; then one component after the other */
	if (fd >= 0 || (errno != ENOSYS && errno != EPERM))
		return fd;
	snprintf(path, sizeof(path), "%s", dir);
	fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	while (fd >= 0 && (name = strsep(&rest, "/"))) {
		if (!*name)
			continue;
		next = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		close(fd);
		fd = next;
	}
	return fd;
}

/*
 * Root acts on another user's directory as that user: what it makes there belongs to them, and nothing they put in the way
 * leads root anywhere else. Capabilities other than those for files stay.
 */
static int become_owner(int fd, struct stat *st, const char *owner)
{
	struct passwd *user = owner ? getpwnam(owner) : NULL;

	if (owner && !user)
		return -fail(EXIT_USAGE, "%s: no such user", owner);
	if (geteuid() != 0)
		return 0;
	if (user && st->st_uid == 0 && user->pw_uid != 0) {
		if (fchown(fd, user->pw_uid, user->pw_gid) || fstat(fd, st))
			return -fail(EXIT_PINS, "give to %s: %s", owner, strerror(errno));
	}
	if (st->st_uid != 0) {
		setfsgid(st->st_gid);
		setfsuid(st->st_uid);
		if (setfsuid(-1) != (int)st->st_uid)
			return -fail(EXIT_PINS, "cannot act as user %u", st->st_uid);
	}
	return 0;
}

/* Opens an absolute directory, refusing symbolic links anywhere in it, and anything a stranger could have prepared. */
int open_pin_dir(const char *dir, const char *owner)
{
	struct statfs fs;
	struct stat st;
	int fd, refused;

	if (dir[0] != '/' || strlen(dir) > 200)
		return -fail(EXIT_PINS, "%s: must be an absolute path of at most 200 characters", dir);
	fd = open_without_links(dir);
	if (fd < 0)
		return -fail(EXIT_PINS, errno == ELOOP ? "%s: has a symbolic link in it" : "%s: %s", dir, strerror(errno));
	if (fstatfs(fd, &fs) || fs.f_type != BPF_FS_MAGIC) {
		close(fd);
		return -fail(EXIT_PINS, "%s: not on a BPF file system", dir);
	}
	refused = fstat(fd, &st) ? -fail(EXIT_PINS, "%s: %s", dir, strerror(errno)) : become_owner(fd, &st, owner);
	if (refused) {
		close(fd);
		return refused;
	}
	if ((geteuid() != 0 && st.st_uid != geteuid()) || (st.st_mode & 022 && !(st.st_mode & S_ISVTX))) {
		close(fd);
		return -fail(EXIT_PINS, "%s: not ours, or writable by others", dir);
	}
	if (flock(fd, LOCK_EX)) { /* one loader at a time */
		close(fd);
		return -fail(EXIT_PINS, "%s: lock: %s", dir, strerror(errno));
	}
	return fd;
}

static bool is_empty(int fd)
{
	DIR *open = fdopendir(dup(fd));
	struct dirent *entry;
	bool empty = open;

	while (open && empty && (entry = readdir(open)))
		empty = !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..");
	if (open)
		closedir(open);
	return empty;
}

/*
 * For runs without the mount unit: a BPF file system of our own at `dir`, which must be an empty directory of ours.
 * What stands in the way, open_pin_dir() says.
 */
static void mount_pin_dir(const char *dir)
{
	struct statfs fs;
	struct stat st;
	char path[64];
	int fd;

	if (dir[0] != '/')
		return;
	mkdir(dir, 0700);
	fd = open_without_links(dir);
	if (fd < 0)
		return;
	if (!fstatfs(fd, &fs) && fs.f_type != BPF_FS_MAGIC && !fstat(fd, &st) && st.st_uid == geteuid() && is_empty(fd)) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		if (mount("bpf", path, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700"))
			fprintf(stderr, "mount %s: %s\n", dir, strerror(errno));
	}
	close(fd);
}

bool is_ifname(const char *name)
{
	size_t length = strlen(name);

	if (length == 0 || length >= IF_NAMESIZE || !strcmp(name, ".") || !strcmp(name, ".."))
		return false;
	for (const unsigned char *at = (const unsigned char *)name; *at; at++)
		if (*at <= ' ' || *at >= 0x7f || *at == '/' || *at == ':' || *at == '%')
			return false;
	return true;
}

static void link_path(char *path, const char *dir, const char *ifname)
{
	int used = snprintf(path, PATH_BYTES, "%s/links/", dir);

	for (const unsigned char *at = (const unsigned char *)ifname; *at; at++) {
		bool plain = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9') || *at == '_' || *at == '-';

		used += snprintf(path + used, PATH_BYTES - used, plain ? "%c" : "%%%02X", *at);
	}
}

/* The interface name of a link pin; false when it is not one of ours. */
static bool decode_pin(const char *pin, char ifname[IF_NAMESIZE])
{
	size_t used = 0;

	for (; *pin; pin++) {
		unsigned int byte = (unsigned char)*pin;

		if (used + 1 >= IF_NAMESIZE)
			return false;
		if (*pin == '%') {
			if (sscanf(pin + 1, "%2X", &byte) != 1)
				return false;
			pin += 2;
		}
		ifname[used++] = byte;
	}
	ifname[used] = 0;
	return is_ifname(ifname);
}

static int remove_tree(const char *dir)
{
	DIR *open = opendir(dir);
	struct dirent *entry;
	char path[PATH_BYTES];
	int failed = 0;

	if (!open)
		return errno == ENOENT ? 0 : -errno;
	while ((entry = readdir(open))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		make_path(path, "%s/%s", dir, entry->d_name);
		if (unlink(path) && errno == EISDIR)
			failed |= remove_tree(path);
		else if (!access(path, F_OK))
			failed = -EBUSY;
	}
	closedir(open);
	return rmdir(dir) ? -errno : failed;
}

static bool is_version_dir(const char *name)
{
	unsigned int layout;
	unsigned long long hash;
	char end;

	return sscanf(name, "v%u-%16llx%c", &layout, &hash, &end) == 2;
}

/*
 * Name of the complete version directory, "" if there is none. A crash of the loader can leave two: `prefer` is the wanted
 * one. With `clean`, incomplete ones are removed.
 */
int find_version(const char *dir, char version[NAME_MAX + 1], const char *prefer, bool clean)
{
	DIR *open = opendir(dir);
	struct dirent *entry;
	char path[PATH_BYTES];

	version[0] = 0;
	if (!open)
		return -errno;
	while ((entry = readdir(open))) {
		if (!is_version_dir(entry->d_name))
			continue;
		make_path(path, "%s/%s/prog", dir, entry->d_name);
		if (!access(path, F_OK)) {
			if (strcmp(version, prefer) || !version[0])
				snprintf(version, NAME_MAX + 1, "%s", entry->d_name);
		} else if (clean) {
			make_path(path, "%s/%s", dir, entry->d_name);
			remove_tree(path);
		}
	}
	closedir(open);
	return 0;
}

/* Removes every version but that one. */
static void remove_other_versions(const char *dir, const char *version)
{
	DIR *open = opendir(dir);
	struct dirent *entry;
	char path[PATH_BYTES];

	while (open && (entry = readdir(open))) {
		if (!is_version_dir(entry->d_name) || !strcmp(entry->d_name, version))
			continue;
		make_path(path, "%s/%s", dir, entry->d_name);
		remove_tree(path);
	}
	if (open)
		closedir(open);
}

/* ---- load -------------------------------------------------------------------------------------------------------- */

static void *read_object(const char *file, size_t *size)
{
	FILE *open = fopen(file, "re");
	char *content = NULL;
	struct stat st;

	if (!open)
		return NULL;
	if (!fstat(fileno(open), &st) && S_ISREG(st.st_mode) && st.st_size > 0 && st.st_size < 64 << 20 && (content = malloc(st.st_size))) {
		*size = fread(content, 1, st.st_size, open);
		if (*size != (size_t)st.st_size) {
			free(content);
			content = NULL;
			errno = EIO;
		}
	} else if (!content) {
		errno = errno ? errno : EINVAL;
	}
	fclose(open);
	return content;
}

/* FNV-1a: names a build of the object; nothing depends on it being hard to forge, the pin directory is ours alone. */
static unsigned long long hash_object(const unsigned char *content, size_t size)
{
	unsigned long long hash = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ content[i]) * 0x100000001b3ULL;
	return hash;
}

/*
 * Multi-buffer frames (MTU above a page) need a flag that Linux 5.18 brought and not every driver takes: first with it,
 * then without. `maps_from` is the directory of a predecessor of the same layout, or "".
 */
static struct bpf_object *load_object(const void *content, size_t size, const char *maps_from, bool frags, int *error)
{
	struct bpf_object *object = bpf_object__open_mem(content, size, NULL);
	struct bpf_program *prog;
	struct bpf_map *map;
	char path[PATH_BYTES];

	if (!object) {
		*error = -errno;
		return NULL;
	}
	prog = bpf_object__find_program_by_name(object, PROG_NAME);
	if (!prog) {
		*error = -ENOENT;
		bpf_object__close(object);
		return NULL;
	}
	if (frags)
		bpf_program__set_flags(prog, bpf_program__flags(prog) | BPF_F_XDP_HAS_FRAGS);
	bpf_object__for_each_map(map, object) {
		int fd;

		if (!maps_from[0])
			continue;
		make_path(path, "%s/maps/%s", maps_from, bpf_map__name(map));
		fd = bpf_obj_get(path);
		if (fd < 0)
			continue; /* a map that came with the new build starts empty */
		*error = bpf_map__reuse_fd(map, fd);
		close(fd);
		if (*error) {
			bpf_object__close(object);
			return NULL;
		}
	}
	*error = bpf_object__load(object);
	if (*error) {
		bpf_object__close(object);
		return NULL;
	}
	return object;
}

static int pin_object(struct bpf_object *object, const char *version_dir)
{
	struct bpf_map *map;
	char path[PATH_BYTES];
	__u32 key = DP_CONTROL_LAYOUT, layout = DP_LAYOUT_VERSION;
	int control = bpf_object__find_map_fd_by_name(object, "dp_control");

	if (control < 0 || bpf_map_update_elem(control, &key, &layout, BPF_ANY))
		return -errno;
	make_path(path, "%s/maps", version_dir);
	if (mkdir(version_dir, 0700) || mkdir(path, 0700))
		return -errno;
	bpf_object__for_each_map(map, object) {
		make_path(path, "%s/maps/%s", version_dir, bpf_map__name(map));
		if (bpf_obj_pin(bpf_map__fd(map), path))
			return -errno;
	}
	make_path(path, "%s/prog", version_dir);
	return bpf_obj_pin(bpf_program__fd(bpf_object__find_program_by_name(object, PROG_NAME)), path) ? -errno : 0;
}

struct link_state {
	char ifname[IF_NAMESIZE];
	__u32 ifindex; /* 0 = its interface is gone */
	__u32 prog_id;
};

static int read_link(const char *path, struct link_state *state)
{
	struct bpf_link_info info = { 0 };
	__u32 size = sizeof(info);
	int fd = bpf_obj_get(path);

	if (fd < 0)
		return -errno;
	if (bpf_obj_get_info_by_fd(fd, &info, &size)) {
		close(fd);
		return -errno;
	}
	state->ifindex = info.type == BPF_LINK_TYPE_XDP ? info.xdp.ifindex : 0;
	state->prog_id = info.prog_id;
	return fd;
}

/* Calls `each` with every link pin; the sum of what it returns. */
static int for_links(const char *dir, int (*each)(const char *path, struct link_state *state, int fd, void *arg), void *arg)
{
	char path[PATH_BYTES];
	struct dirent *entry;
	int sum = 0;
	DIR *open;

	make_path(path, "%s/links", dir);
	open = opendir(path);
	while (open && (entry = readdir(open))) {
		struct link_state state = { 0 };
		int fd;

		if (entry->d_name[0] == '.' || !decode_pin(entry->d_name, state.ifname))
			continue;
		make_path(path, "%s/links/%s", dir, entry->d_name);
		fd = read_link(path, &state);
		if (fd < 0)
			continue;
		sum += each(path, &state, fd, arg);
		close(fd);
	}
	if (open)
		closedir(open);
	return sum;
}

static __u32 prog_id_of(int fd)
{
	struct bpf_prog_info info = { 0 };
	__u32 size = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &size) ? 0 : info.id;
}

/* A link whose program is another one moves to ours; packets keep flowing. */
static int update_link(const char *path, struct link_state *state, int fd, void *arg)
{
	int prog = *(int *)arg;

	(void)path;
	if (state->ifindex == 0 || state->prog_id == prog_id_of(prog))
		return 0;
	if (bpf_link_update(fd, prog, NULL)) {
		printf("{\"interface\":");
		print_text(state->ifname);
		printf(",\"error\":\"link update: %s\"}\n", strerror(errno));
		return 1;
	}
	return 0;
}

static void default_object(char path[PATH_BYTES])
{
	ssize_t length = readlink("/proc/self/exe", path, PATH_BYTES - 32);
	char *slash;

	path[length < 0 ? 0 : length] = 0;
	slash = strrchr(path, '/');
	strcpy(slash ? slash + 1 : path, "derpanet.bpf.o");
}

int command_load(const char *dir, const char *object_file)
{
	char old[NAME_MAX + 1], name[64], path[PATH_BYTES], old_path[PATH_BYTES], reuse[PATH_BYTES] = "", beside[PATH_BYTES];
	unsigned int old_layout = 0;
	struct bpf_object *object;
	bool frags = true;
	size_t size = 0;
	int error = 0, failed = 0, prog;
	void *content;

	if (!object_file) {
		default_object(beside);
		object_file = beside;
	}
	errno = 0;
	content = read_object(object_file, &size);
	if (!content)
		return fail(EXIT_LOAD, "%s: %s", object_file, strerror(errno));
	snprintf(name, sizeof(name), "v%d-%016llx", DP_LAYOUT_VERSION, hash_object(content, size));
	make_path(path, "%s/links", dir);
	if (mkdir(path, 0700) && errno != EEXIST)
		return fail(EXIT_PINS, "%s: %s", path, strerror(errno));
	error = find_version(dir, old, name, true);
	if (error)
		return fail(EXIT_PINS, "%s: %s", dir, strerror(-error));
	make_path(path, "%s/%s", dir, name);
	make_path(old_path, "%s/%s", dir, old);

	if (!strcmp(old, name)) {
		make_path(old_path, "%s/prog", path);
		prog = bpf_obj_get(old_path);
		if (prog < 0)
			return fail(EXIT_PINS, "%s: %s", old_path, strerror(errno));
		failed = for_links(dir, update_link, &prog); /* a crash may have come between load and update */
		if (!failed)
			remove_other_versions(dir, name);
		printf("{\"loaded\":false,\"adopted\":true,\"version\":\"%s\",\"layout\":%d,\"program\":%u}\n", name, DP_LAYOUT_VERSION, prog_id_of(prog));
		return failed ? EXIT_REFUSED : EXIT_DONE;
	}

	if (sscanf(old, "v%u-", &old_layout) == 1 && old_layout == DP_LAYOUT_VERSION)
		make_path(reuse, "%s", old_path);
	object = load_object(content, size, reuse, frags, &error);
	if (!object) {
		frags = false;
		libbpf_said[0] = 0;
		object = load_object(content, size, reuse, frags, &error);
	}
	if (!object) {
		char reason[128];

		libbpf_strerror(error, reason, sizeof(reason));
		return fail(EXIT_LOAD, "%s: the kernel refused it: %s", object_file, reason);
	}
	error = pin_object(object, path);
	if (error) {
		remove_tree(path);
		return fail(EXIT_PINS, "%s: %s", path, strerror(-error));
	}
	prog = bpf_program__fd(bpf_object__find_program_by_name(object, PROG_NAME));
	failed = for_links(dir, update_link, &prog);
	if (!failed)
		remove_other_versions(dir, name);
	printf("{\"loaded\":true,\"adopted\":false,\"version\":\"%s\",\"layout\":%d,\"program\":%u,\"frags\":%s,\"replaced\":", name, DP_LAYOUT_VERSION,
	       prog_id_of(prog), frags ? "true" : "false");
	print_text(old);
	puts("}");
	bpf_object__close(object);
	free(content);
	return failed ? EXIT_REFUSED : EXIT_DONE;
}

/* ---- attach, detach ---------------------------------------------------------------------------------------------- */

static const char *mode_name(unsigned int attach_mode)
{
	switch (attach_mode) {
	case XDP_ATTACHED_DRV: return "native";
	case XDP_ATTACHED_SKB: return "generic";
	case XDP_ATTACHED_HW: return "offload";
	case XDP_ATTACHED_MULTI: return "several";
	default: return "none";
	}
}

/* What is attached to an interface: id of the program (0 = nothing) and the mode. */
static __u32 attached_program(int ifindex, const char **mode)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, query);
	__u32 id;

	*mode = "none";
	if (bpf_xdp_query(ifindex, 0, &query))
		return 0;
	*mode = mode_name(query.attach_mode);
	id = query.prog_id ? query.prog_id : query.drv_prog_id ? query.drv_prog_id : query.skb_prog_id ? query.skb_prog_id : query.hw_prog_id;
	return id;
}

static void print_result(const char *ifname, const char *state, const char *mode, const char *reason)
{
	printf("{\"interface\":");
	print_text(ifname);
	printf(",\"state\":\"%s\"", state);
	if (mode)
		printf(",\"mode\":\"%s\"", mode);
	if (reason) {
		printf(",\"reason\":");
		print_text(reason);
	}
	puts("}");
}

/*
 * Takes our program off an interface and the pin away. Removing the last reference alone would do it too, but some time later (the
 * kernel releases links from a work queue), and whoever attaches next would find the interface busy. 0, or -1 with errno.
 */
static int remove_link(const char *path)
{
	int fd = bpf_obj_get(path);

	if (fd >= 0) {
		bpf_link_detach(fd); /* fails where the interface is gone, and then there is nothing to take off */
		close(fd);
	}
	return unlink(path);
}

static int ask_device(int fd, const char *ifname, void *request)
{
	struct ifreq ifreq = { .ifr_data = request };

	snprintf(ifreq.ifr_name, IFNAMSIZ, "%s", ifname);
	return ioctl(fd, SIOCETHTOOL, &ifreq);
}

/*
 * The name of what the device does to merge received frames before the kernel sees them, "" if it does nothing of the kind.
 * The program is given single frames, so attaching it switches that off: bulk traffic then comes in many times as many packets.
 */
static void merging_of(const char *ifname, char name[ETH_GSTRING_LEN + 1])
{
	struct { struct ethtool_sset_info head; __u32 count; } sets = { { .cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ULL << ETH_SS_FEATURES }, 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ethtool_gstrings *names = NULL;
	struct ethtool_gfeatures *features = NULL;

	name[0] = 0;
	if (fd < 0 || ask_device(fd, ifname, &sets) || !sets.head.sset_mask || sets.count > 1024)
		goto out;
	names = calloc(1, sizeof(*names) + sets.count * ETH_GSTRING_LEN);
	features = calloc(1, sizeof(*features) + (sets.count + 31) / 32 * sizeof(features->features[0]));
	if (!names || !features)
		goto out;
	*names = (struct ethtool_gstrings){ .cmd = ETHTOOL_GSTRINGS, .string_set = ETH_SS_FEATURES, .len = sets.count };
	*features = (struct ethtool_gfeatures){ .cmd = ETHTOOL_GFEATURES, .size = (sets.count + 31) / 32 };
	if (ask_device(fd, ifname, names) || ask_device(fd, ifname, features))
		goto out;
	for (__u32 i = 0; i < sets.count; i++) {
		const char *each = (char *)names->data + i * ETH_GSTRING_LEN;

		if (features->features[i / 32].active >> i % 32 & 1 && (!strcmp(each, "rx-lro") || !strcmp(each, "rx-gro-hw")))
			snprintf(name, ETH_GSTRING_LEN + 1, "%.*s", ETH_GSTRING_LEN, each);
	}
out:
	free(names);
	free(features);
	if (fd >= 0)
		close(fd);
}

int attach_one(const char *dir, const char *ifname, int prog, bool generic, bool keep_speed)
{
	const char *wanted = generic ? "generic" : "native", *mode;
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE);
	char path[PATH_BYTES], reason[256];
	struct link_state state = { 0 };
	int ifindex, fd, error;
	__u32 other;

	if (!is_ifname(ifname)) {
		print_result(ifname, "refused", NULL, "not an interface name");
		return 1;
	}
	ifindex = if_nametoindex(ifname);
	if (ifindex == 0) {
		print_result(ifname, "refused", NULL, "no such interface");
		return 1;
	}
	link_path(path, dir, ifname);
	fd = read_link(path, &state);
	if (fd >= 0) {
		close(fd);
		other = attached_program(ifindex, &mode);
		if (state.ifindex == (__u32)ifindex && state.prog_id == other && !strcmp(mode, wanted)) {
			print_result(ifname, "attached", wanted, NULL);
			return 0;
		}
		remove_link(path); /* the interface is another one by now, or the mode changes */
	}
	if (keep_speed) {
		char merging[ETH_GSTRING_LEN + 1];

		merging_of(ifname, merging);
		if (merging[0]) {
			snprintf(reason, sizeof(reason), "auto: the device merges frames (%s), which native XDP would end", merging);
			print_result(ifname, "refused", NULL, reason);
			return 1;
		}
	}
	other = attached_program(ifindex, &mode);
	if (other) {
		struct bpf_prog_info info = { 0 };
		__u32 size = sizeof(info);
		int foreign = bpf_prog_get_fd_by_id(other);

		if (foreign >= 0)
			bpf_obj_get_info_by_fd(foreign, &info, &size);
		snprintf(reason, sizeof(reason), "busy: prog id %u by %s (%s)", other, info.name[0] ? info.name : "an unnamed program", mode);
		if (foreign >= 0)
			close(foreign);
		print_result(ifname, "busy", NULL, reason);
		return 1;
	}
	fd = bpf_link_create(prog, ifindex, BPF_XDP, &opts);
	if (fd < 0) {
		error = errno;
		if (error == EBUSY || error == EEXIST)
			snprintf(reason, sizeof(reason), "busy: another XDP program came first");
		else if (error == EOPNOTSUPP)
			snprintf(reason, sizeof(reason), "EOPNOTSUPP: the driver has no %s XDP", wanted);
		else
			snprintf(reason, sizeof(reason), "%s: %s XDP cannot be attached", strerror(error), wanted);
		print_result(ifname, error == EBUSY || error == EEXIST ? "busy" : "refused", NULL, reason);
		return 1;
	}
	if (bpf_obj_pin(fd, path)) {
		snprintf(reason, sizeof(reason), "cannot be pinned: %s", strerror(errno));
		close(fd);
		print_result(ifname, "refused", NULL, reason);
		return 1;
	}
	close(fd);
	print_result(ifname, "attached", wanted, NULL);
	return 0;
}

static int command_attach(const char *dir, const char *mode, char **ifnames)
{
	char version[NAME_MAX + 1], path[PATH_BYTES];
	int prog, failed = 0;

	if (!mode || (strcmp(mode, "native") && strcmp(mode, "generic") && strcmp(mode, "auto")) || !*ifnames) {
		usage(stderr);
		return EXIT_USAGE;
	}
	if (find_version(dir, version, "", false) || !version[0])
		return fail(EXIT_PINS, "%s: no program is loaded", dir);
	make_path(path, "%s/%s/prog", dir, version);
	prog = bpf_obj_get(path);
	if (prog < 0)
		return fail(EXIT_PINS, "%s: %s", path, strerror(errno));
	for (; *ifnames; ifnames++)
		failed |= attach_one(dir, *ifnames, prog, !strcmp(mode, "generic"), !strcmp(mode, "auto"));
	return failed ? EXIT_REFUSED : EXIT_DONE;
}

static int command_detach(const char *dir, char **ifnames)
{
	char path[PATH_BYTES];
	int failed = 0;

	if (!*ifnames) {
		usage(stderr);
		return EXIT_USAGE;
	}
	for (; *ifnames; ifnames++) {
		if (!is_ifname(*ifnames)) {
			print_result(*ifnames, "refused", NULL, "not an interface name");
			failed = 1;
			continue;
		}
		link_path(path, dir, *ifnames);
		if (remove_link(path) && errno != ENOENT) {
			print_result(*ifnames, "refused", NULL, strerror(errno));
			failed = 1;
		} else {
			print_result(*ifnames, "detached", NULL, NULL);
		}
	}
	return failed ? EXIT_REFUSED : EXIT_DONE;
}

/* ---- status, unload ---------------------------------------------------------------------------------------------- */

static int print_link(const char *path, struct link_state *state, int fd, void *arg)
{
	char now[IF_NAMESIZE] = "";
	const char *mode = "none";
	bool attached = state->ifindex && attached_program(state->ifindex, &mode) == state->prog_id;

	(void)path, (void)fd, (void)arg;
	if (state->ifindex)
		if_indextoname(state->ifindex, now);
	printf("{\"interface\":");
	print_text(state->ifname);
	printf(",\"ifindex\":%u,\"program\":%u,\"state\":\"%s\",\"mode\":\"%s\",\"name\":", state->ifindex, state->prog_id, attached ? "attached" : "gone",
	       attached ? mode : "none");
	print_text(now);
	puts("}");
	return 0;
}

static int command_status(const char *dir)
{
	char version[NAME_MAX + 1], path[PATH_BYTES];
	int prog;

	if (find_version(dir, version, "", false))
		return fail(EXIT_PINS, "%s: %s", dir, strerror(errno));
	if (!version[0]) {
		puts("{\"version\":null}");
		return EXIT_DONE;
	}
	make_path(path, "%s/%s/prog", dir, version);
	prog = bpf_obj_get(path);
	if (prog < 0)
		return fail(EXIT_PINS, "%s: %s", path, strerror(errno));
	printf("{\"version\":\"%s\",\"layout\":%d,\"program\":%u}\n", version, atoi(version + 1), prog_id_of(prog));
	for_links(dir, print_link, NULL);
	return EXIT_DONE;
}

static int command_unload(const char *dir)
{
	char path[PATH_BYTES];
	struct dirent *entry;
	int failed = 0, error;
	DIR *open;

	make_path(path, "%s/links", dir);
	error = remove_tree(path); /* links first: no interface runs a program whose maps nobody can find */
	if (error)
		failed = fail(EXIT_PINS, "%s: %s", path, strerror(-error));
	open = opendir(dir);
	while (open && (entry = readdir(open))) {
		if (!is_version_dir(entry->d_name))
			continue;
		make_path(path, "%s/%s", dir, entry->d_name);
		error = remove_tree(path);
		if (error)
			failed = fail(EXIT_PINS, "%s: %s", path, strerror(-error));
	}
	if (open)
		closedir(open);
	if (!failed)
		puts("{\"unloaded\":true}");
	return failed;
}

int main(int argc, char **argv)
{
	const char *command = argc > 1 ? argv[1] : "", *dir = NULL, *mode = NULL, *object = NULL, *owner = NULL;
	struct restore_options restore = { 0 };
	char **ifnames = calloc(argc + 1, sizeof(*ifnames));
	bool mount = false;
	int names = 0, status;

	if (!strcmp(command, "--help") || !strcmp(command, "help")) {
		usage(stdout);
		return EXIT_DONE;
	}
	for (int i = 2; i < argc; i++) {
		bool more = i + 1 < argc;

		if (!strcmp(argv[i], "--pin") && more)
			dir = argv[++i];
		else if (!strcmp(argv[i], "--mode") && more)
			mode = argv[++i];
		else if (!strcmp(argv[i], "--object") && more)
			object = argv[++i];
		else if (!strcmp(argv[i], "--owner") && more)
			owner = argv[++i];
		else if (!strcmp(argv[i], "--boot") && more)
			restore.boot = argv[++i];
		else if (!strcmp(argv[i], "--fallback") && more)
			restore.fallback = argv[++i];
		else if (!strcmp(argv[i], "--run") && more)
			restore.run = argv[++i];
		else if (!strcmp(argv[i], "--check") && more && !strchr(argv[i + 1], '/'))
			restore.check = argv[++i];
		else if (!strcmp(argv[i], "--mount"))
			mount = true;
		else if (!strcmp(argv[i], "--json"))
			continue; /* the only format there is */
		else if (argv[i][0] == '-')
			dir = NULL, i = argc;
		else
			ifnames[names++] = argv[i];
	}
	libbpf_set_print(keep_warning);
	libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
	if (!strcmp(command, "restore") && restore.boot && !names && (restore.check || (restore.run && dir))) {
		restore.pins = dir;
		return command_restore(&restore);
	}
	if (!dir || !ifnames) {
		usage(stderr);
		return EXIT_USAGE;
	}
	if (mount && !strcmp(command, "load"))
		mount_pin_dir(dir);
	status = open_pin_dir(dir, owner);
	if (status < 0)
		return -status;
	if (!strcmp(command, "own") && owner && !names)
		return EXIT_DONE; /* open_pin_dir() did it */
	if (!strcmp(command, "load") && !names)
		return command_load(dir, object);
	if (!strcmp(command, "attach"))
		return command_attach(dir, mode, ifnames);
	if (!strcmp(command, "detach"))
		return command_detach(dir, ifnames);
	if (!strcmp(command, "status") && !names)
		return command_status(dir);
	if (!strcmp(command, "unload") && !names)
		return command_unload(dir);
	usage(stderr);
	return EXIT_USAGE;
}
