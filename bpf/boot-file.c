// SPDX-License-Identifier: Apache-2.0
/* Reads and checks a boot file; does nothing with it. See boot-file.h for its shape and boot-grammar.c for its lines. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "boot-file.h"
#include "boot-grammar.h"
#include "derpanet-load.h"
#include "layout.h"
#include "sha256.h"

#define TEXT_MAX ((size_t)64 << 20)
#define BLOB_MAX ((size_t)192 << 20)
#define ELEMENTS_HEADER 16

static const char elements_magic[8] = "DPSETS1\n";

static bool problem_is(char problem[256], const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool problem_is(char problem[256], const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(problem, 256, format, args);
	va_end(args);
	return false;
}

/* A regular file of ours or of root's that nobody else may write, followed by a NUL. */
static unsigned char *read_own_file(const char *dir, const char *name, size_t max, size_t *size, char problem[256])
{
	unsigned char *bytes = NULL;
	int folder = open_without_links(dir), fd;
	struct stat st;
	size_t at = 0;
	ssize_t got = 1;

	if (folder < 0) {
		problem_is(problem, "%s: %s", dir, strerror(errno));
		return NULL;
	}
	fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	close(folder);
	if (fd < 0 || fstat(fd, &st))
		problem_is(problem, "%s: %s", name, strerror(errno));
	else if (!S_ISREG(st.st_mode) || (geteuid() != 0 && st.st_uid != 0 && st.st_uid != geteuid()) || st.st_mode & 022)
		problem_is(problem, "%s: not a regular file of ours that nobody else may write", name);
	else if ((size_t)st.st_size > max)
		problem_is(problem, "%s: larger than %zu bytes", name, max);
	else if (!(bytes = malloc(st.st_size + 1)))
		problem_is(problem, "%s: no memory", name);
	while (bytes && at < (size_t)st.st_size && (got = read(fd, bytes + at, st.st_size - at)) > 0)
		at += got;
	if (fd >= 0)
		close(fd);
	if (bytes && (got < 0 || at != (size_t)st.st_size)) {
		problem_is(problem, "%s: cannot be read", name);
		free(bytes);
		return NULL;
	}
	if (bytes)
		bytes[at] = 0;
	*size = at;
	return bytes;
}

static bool is_digest(const char *text)
{
	return strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
}

static bool read_blob(const char *dir, struct boot_blob *blob, const char *kind, char problem[256])
{
	char name[80], digest[65];

	snprintf(name, sizeof(name), "%s.%s", blob->digest, kind);
	blob->bytes = read_own_file(dir, name, BLOB_MAX, &blob->size, problem);
	if (!blob->bytes)
		return false;
	sha256_hex(blob->bytes, blob->size, digest);
	return !strcmp(digest, blob->digest) || problem_is(problem, "%s: damaged", name);
}

/* A decimal number without sign or leading zeros, then the end. */
static bool parse_number(const char *text, unsigned long max, unsigned long *value)
{
	char *end;

	if (text[0] < '0' || text[0] > '9' || strlen(text) > 10 || (text[0] == '0' && text[1]))
		return false;
	*value = strtoul(text, &end, 10);
	return !*end && *value <= max;
}

bool is_elements_line(const char *line)
{
	return !strncmp(line, "elements ", 9);
}

bool read_elements(const char *dir, const char *line, struct boot_elements *elements, char problem[256])
{
	char family[8], count[16], digest[80];
	uint32_t header[2];
	unsigned long number;
	size_t bytes_each;
	int end = 0;

	memset(elements, 0, sizeof(*elements));
	if (sscanf(line, "elements %31s %7s %15s %79s%n", elements->name, family, count, digest, &end) != 4 || line[end])
		return problem_is(problem, "not: elements SET inet|inet6 COUNT SHA256");
	elements->inet6 = !strcmp(family, "inet6");
	if (!is_set_name(elements->name, strlen(elements->name)) || (!elements->inet6 && strcmp(family, "inet")) || !is_digest(digest) ||
	    !parse_number(count, 16 << 20, &number))
		return problem_is(problem, "not: elements SET inet|inet6 COUNT SHA256");
	strcpy(elements->blob.digest, digest);
	elements->blob.count = number;
	if (!read_blob(dir, &elements->blob, "set", problem))
		return false;
	bytes_each = elements->inet6 ? 17 : 5;
	if (elements->blob.size != ELEMENTS_HEADER + number * bytes_each || memcmp(elements->blob.bytes, elements_magic, sizeof(elements_magic)))
		return problem_is(problem, "%s.set: not %lu elements", digest, number);
	memcpy(header, elements->blob.bytes + sizeof(elements_magic), sizeof(header));
	if (header[0] != (elements->inet6 ? 6u : 4u) || header[1] != number)
		return problem_is(problem, "%s.set: of another family or count", digest);
	for (size_t i = 0; i < number; i++)
		if (elements->blob.bytes[ELEMENTS_HEADER + number * (bytes_each - 1) + i] > (elements->inet6 ? 128 : 32))
			return problem_is(problem, "%s.set: prefix length out of range", digest);
	return true;
}

/* ---- sections ------------------------------------------------------------------------------------------------------ */

struct reader {
	struct boot_file *file;
	unsigned int at, count;
};

/* The value of the line "WORD VALUE", or NULL: the line stays. */
static char *take(struct reader *reader, const char *word)
{
	size_t length = strlen(word);
	char *line;

	if (reader->at >= reader->count)
		return NULL;
	line = reader->file->lines[reader->at];
	if (strncmp(line, word, length) || line[length] != ' ')
		return NULL;
	reader->at++;
	return line + length + 1;
}

static bool take_section(struct reader *reader, const char *word, struct boot_section *section)
{
	char *value = take(reader, word);
	unsigned long count;

	if (!value || !parse_number(value, reader->count - reader->at, &count))
		return problem_is(reader->file->problem, "line %u: not: %s COUNT", reader->at + 1, word);
	section->lines = reader->file->lines + reader->at;
	section->count = count;
	reader->at += count;
	return true;
}

static bool take_blob(struct reader *reader, const char *word, unsigned long max, struct boot_blob *blob)
{
	char *value = take(reader, word), *space;
	unsigned long count;

	if (!value)
		return false;
	space = strchr(value, ' ');
	if (!space || !is_digest(space + 1))
		return problem_is(reader->file->problem, "line %u: not: %s COUNT SHA256", reader->at, word);
	*space = 0;
	if (!parse_number(value, max, &count) || count == 0)
		return problem_is(reader->file->problem, "line %u: not: %s COUNT SHA256", reader->at, word);
	strcpy(blob->digest, space + 1);
	blob->count = count;
	return true;
}

static bool check_lines(struct boot_file *file, const char *dir)
{
	const struct boot_section *rules[2] = { &file->rules4, &file->rules6 };
	const char *problem;

	for (unsigned int i = 0; i < file->sets.count; i++) {
		const char *line = file->sets.lines[i];

		if (is_elements_line(line)) {
			struct boot_elements elements;
			bool fine = read_elements(dir, line, &elements, file->problem);

			free(elements.blob.bytes);
			if (!fine)
				return false;
		} else if ((problem = check_set_line(line))) {
			return problem_is(file->problem, "sets line %u: %s: %.120s", i + 1, problem, line);
		}
	}
	for (int family = 0; family < 2; family++) {
		char table[16] = "";

		for (unsigned int i = 0; i < rules[family]->count; i++)
			if ((problem = check_rule_line(rules[family]->lines[i], table)))
				return problem_is(file->problem, "rules%d line %u: %s: %.120s", family ? 6 : 4, i + 1, problem, rules[family]->lines[i]);
		if (table[0])
			return problem_is(file->problem, "rules%d: table %s does not end", family ? 6 : 4, table);
	}
	for (unsigned int i = 0; i < file->created.count; i++)
		if (!is_plain_word(file->created.lines[i], strlen(file->created.lines[i]), "/") || strlen(file->created.lines[i]) > 40)
			return problem_is(file->problem, "created line %u: not a chain", i + 1);
	if (file->state[0] != '{')
		return problem_is(file->problem, "state: not an object");
	for (const char *at = file->state; *at; at++)
		if (*at < ' ' || *at > '~')
			return problem_is(file->problem, "state: a byte that is not printable ASCII");
	return true;
}

static bool parse(struct boot_file *file, const char *dir, unsigned int count)
{
	struct reader reader = { .file = file, .count = count };
	struct boot_section state;
	const char *value;

	if (!(value = take(&reader, "derpanet-boot")) || strcmp(value, "1"))
		return problem_is(file->problem, "not a boot file of format 1");
	if (!(value = take(&reader, "generation")) || !parse_number(value, 4294967295UL, &file->generation))
		return problem_is(file->problem, "no generation");
	if (!(file->variant = take(&reader, "variant")) || (strcmp(file->variant, "nft") && strcmp(file->variant, "legacy") && strcmp(file->variant, "auto")))
		return problem_is(file->problem, "no variant");
	if (!take_section(&reader, "sets", &file->sets) || !take_section(&reader, "rules4", &file->rules4) || !take_section(&reader, "rules6", &file->rules6) ||
	    !take_section(&reader, "created", &file->created) || !take_section(&reader, "state", &state))
		return false;
	if (state.count != 1)
		return problem_is(file->problem, "state: not one line");
	file->state = state.lines[0];
	if (take_blob(&reader, "xdp", 65535, &file->xdp)) {
		file->layout = file->xdp.count;
		take_blob(&reader, "pages4", 4096, &file->pages[DP_FAMILY_IPV4]);
		take_blob(&reader, "pages6", 4096, &file->pages[DP_FAMILY_IPV6]);
		while (!file->problem[0] && (value = take(&reader, "link"))) {
			char *mode = strchr(value, ' ');

			if (!mode || file->link_count == BOOT_LINKS_MAX || (strcmp(mode, " native") && strcmp(mode, " generic")))
				return problem_is(file->problem, "line %u: not: link IFNAME native|generic", reader.at);
			*mode = 0;
			if (!is_ifname(value))
				return problem_is(file->problem, "line %u: not an interface", reader.at);
			file->links[file->link_count].name = value;
			file->links[file->link_count++].generic = !strcmp(mode + 1, "generic");
		}
	}
	if (file->problem[0])
		return false;
	if (reader.at != count)
		return problem_is(file->problem, "line %u: not known", reader.at + 1);
	if (file->layout && !read_blob(dir, &file->xdp, "xdp", file->problem))
		return false;
	for (int family = 0; family < 2; family++) {
		struct boot_blob *pages = &file->pages[family];

		if (!pages->count)
			continue;
		if (!read_blob(dir, pages, "pages", file->problem))
			return false;
		if (pages->size != (size_t)pages->count * DP_PAGE_BYTES)
			return problem_is(file->problem, "%s.pages: not %u pages", pages->digest, pages->count);
	}
	return check_lines(file, dir);
}

/* Cuts the text into lines and takes the last one off: it must name the digest of what is before it. 0 with `problem`. */
static unsigned int split_lines(struct boot_file *file, size_t size)
{
	unsigned int count = 0, at = 0;
	char digest[65], *end;

	for (size_t i = 0; i < size; i++)
		count += file->text[i] == '\n';
	if (size < 70 || file->text[size - 1] != '\n' || memchr(file->text, 0, size) || count < 2)
		return problem_is(file->problem, "cut off");
	end = file->text + size - 1;
	*end = 0;
	end = strrchr(file->text, '\n');
	if (!end || strncmp(end + 1, "end ", 4) || !is_digest(end + 5))
		return problem_is(file->problem, "cut off");
	sha256_hex(file->text, end + 1 - file->text, digest);
	if (strcmp(digest, end + 5))
		return problem_is(file->problem, "damaged: its digest differs");
	*end = 0;
	file->lines = calloc(count, sizeof(*file->lines));
	if (!file->lines)
		return problem_is(file->problem, "no memory");
	for (char *rest = file->text; rest;)
		file->lines[at++] = strsep(&rest, "\n");
	return at;
}

bool read_boot_file(const char *dir, const char *name, struct boot_file *file)
{
	unsigned int count;
	size_t size;

	memset(file, 0, sizeof(*file));
	file->text = (char *)read_own_file(dir, name, TEXT_MAX, &size, file->problem);
	if (!file->text)
		return false;
	count = split_lines(file, size);
	return count > 0 && parse(file, dir, count);
}

void free_boot_file(struct boot_file *file)
{
	free(file->xdp.bytes);
	free(file->pages[0].bytes);
	free(file->pages[1].bytes);
	free(file->lines);
	free(file->text);
	memset(file, 0, sizeof(*file));
}
