/* SPDX-License-Identifier: Apache-2.0 */
/* What derpanet-load.c (pins, program, links) and derpanet-restore.c (boot) share. */
#ifndef DERPANET_LOAD_H
#define DERPANET_LOAD_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

enum {
	EXIT_DONE = 0,    /* everything asked for is so */
	EXIT_REFUSED = 1, /* at least one interface was not attached or detached; the lines say why */
	EXIT_USAGE = 2,
	EXIT_PINS = 3,    /* the pin directory is not usable */
	EXIT_LOAD = 4,    /* this kernel does not take the program */
	EXIT_BOOT = 5,    /* nothing could be restored */
};

#define PATH_BYTES 512

/* Prints one line {"error":…} and returns `status`. */
int fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* As a JSON string. */
void print_text(const char *text);
void make_path(char path[PATH_BYTES], const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A directory by an absolute path without symbolic links; -1 with errno. */
int open_without_links(const char *dir);
bool is_ifname(const char *name);

/* Below a pin directory. open_pin_dir() locks it while the descriptor it returns is open; negative exit status on failure. */
int open_pin_dir(const char *dir, const char *owner);
int find_version(const char *dir, char version[NAME_MAX + 1], const char *prefer, bool clean);
int command_load(const char *dir, const char *object_file);
/* 0 or 1; prints the line. With keep_speed it refuses where native XDP would end what the device does for bulk traffic. */
int attach_one(const char *dir, const char *ifname, int prog, bool generic, bool keep_speed);

/* derpanet-restore.c */
struct restore_options {
	const char *boot, *fallback, *run, *pins;
	/* Name of a file below `boot` that is only checked; NULL = restore. */
	const char *check;
};
int command_restore(const struct restore_options *options);

#endif
