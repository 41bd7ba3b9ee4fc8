/*
 * Loaded before derpanet-load (LD_PRELOAD) by effects.cjs: numbers each change it makes to the kernel's BPF objects and to its
 * file system, and at a chosen one kills it or has the kernel refuse. Reading is no effect.
 *   DERPANET_INSIDE        file; each effect is appended to it as "SPAWN NUMBER NAME"
 *   DERPANET_INSIDE_SPAWN  the first word of these lines: which effect of the daemon this loader is
 *   DERPANET_INSIDE_AT, DERPANET_INSIDE_MODE (kill, fail)
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int count;

/* 1 = it is to fail. Does not come back where the program is to die. */
static int reach(const char *name)
{
	const char *file = getenv("DERPANET_INSIDE"), *at = getenv("DERPANET_INSIDE_AT"), *mode = getenv("DERPANET_INSIDE_MODE");
	const char *spawn = getenv("DERPANET_INSIDE_SPAWN");
	int saved = errno, fd, length;
	char line[128];

	if (!file)
		return 0;
	count++;
	fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	length = snprintf(line, sizeof(line), "%s %d %s\n", spawn ? spawn : "0", count, name);
	if (fd < 0 || write(fd, line, length) != length)
		abort();
	close(fd);
	errno = saved;
	if (!at || !mode || atoi(at) != count)
		return 0;
	if (!strcmp(mode, "kill"))
		kill(getpid(), SIGKILL);
	return !strcmp(mode, "fail");
}

static const char *name_of(long command)
{
	switch (command) {
	case BPF_MAP_CREATE: return "map create";
	case BPF_MAP_UPDATE_ELEM: return "map set";
	case BPF_MAP_DELETE_ELEM: return "map delete";
	case BPF_MAP_FREEZE: return "map freeze";
	case BPF_PROG_LOAD: return "program load";
	case BPF_BTF_LOAD: return "type load";
	case BPF_OBJ_PIN: return "pin";
	case BPF_LINK_CREATE: return "link create";
	case BPF_LINK_UPDATE: return "link update";
	case BPF_LINK_DETACH: return "link detach";
	case BPF_PROG_BIND_MAP: return "map bind";
	default: return NULL;
	}
}

long syscall(long number, ...)
{
	static long (*real)(long, ...);
	long words[6];
	va_list args;

	va_start(args, number);
	for (int i = 0; i < 6; i++)
		words[i] = va_arg(args, long);
	va_end(args);
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "syscall");
	if (number == SYS_bpf && name_of(words[0]) && reach(name_of(words[0]))) {
		errno = EPERM;
		return -1;
	}
	return real(number, words[0], words[1], words[2], words[3], words[4], words[5]);
}

#define FILE_CALL(name, types, values)                                \
	int name types                                                \
	{                                                             \
		static int (*real) types;                             \
		if (!real)                                            \
			*(void **)&real = dlsym(RTLD_NEXT, #name);    \
		if (reach(#name)) {                                   \
			errno = ENOSPC;                               \
			return -1;                                    \
		}                                                     \
		return real values;                                   \
	}

FILE_CALL(mkdir, (const char *path, mode_t mode), (path, mode))
FILE_CALL(unlink, (const char *path), (path))
FILE_CALL(rmdir, (const char *path), (path))
FILE_CALL(rename, (const char *from, const char *to), (from, to))
