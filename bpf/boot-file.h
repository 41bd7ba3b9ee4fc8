/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The boot file, which the daemon writes and derpanet-load reads before the network comes up (docs/adr/0007-boot.md).
 * Text, one thing a line; sections in this order, each with its count of lines:
 *
 *   derpanet-boot 1
 *   generation NUMBER
 *   variant nft|legacy|auto
 *   sets N         lines of ipset restore, or: elements SET inet|inet6 COUNT SHA256 (of the file SHA256.set beside)
 *   rules4 N       lines of iptables-restore
 *   rules6 N
 *   created N      base chains that exist only for us, ip/mangle/INPUT
 *   state 1        what the daemon will want to know of all this: JSON without its closing brace
 *   xdp LAYOUT SHA256            optional: SHA256.xdp; only with it the following
 *   pages4 COUNT SHA256          optional: SHA256.pages
 *   pages6 COUNT SHA256          optional
 *   link IFNAME native|generic   any number
 *   end SHA256     of everything before this line
 */
#ifndef DERPANET_BOOT_FILE_H
#define DERPANET_BOOT_FILE_H

#include <stdbool.h>
#include <stddef.h>

#define BOOT_LINKS_MAX 512

struct boot_section {
	char **lines;
	unsigned int count;
};

/* A file beside, named by its content; `bytes` once it was read and is whole. */
struct boot_blob {
	char digest[65];
	unsigned int count;
	unsigned char *bytes;
	size_t size;
};

struct boot_file {
	char *text, *variant;
	char **lines;
	unsigned long generation;
	struct boot_section sets, rules4, rules6, created;
	const char *state;
	unsigned int layout; /* 0 = no XDP */
	struct boot_blob xdp, pages[2];
	struct {
		const char *name;
		bool generic;
	} links[BOOT_LINKS_MAX];
	unsigned int link_count;
	char problem[256]; /* why not, after a failure */
};

/*
 * Reads and checks the whole of DIR/NAME and all files it refers to, before anything is done with any of it. false with
 * `problem` set. free_boot_file() in both cases.
 */
bool read_boot_file(const char *dir, const char *name, struct boot_file *file);
void free_boot_file(struct boot_file *file);

/* One set whose elements are in a file of their own. `text` = the words behind "elements ". */
struct boot_elements {
	char name[32];
	bool inet6;
	struct boot_blob blob;
};
bool is_elements_line(const char *line);
/* Reads and checks its file below DIR. false with `problem`. */
bool read_elements(const char *dir, const char *line, struct boot_elements *elements, char problem[256]);

#endif
