/* SPDX-License-Identifier: Apache-2.0 */
/* The lines of a boot file that tools will read: what they may say, and nothing else. */
#ifndef DERPANET_BOOT_GRAMMAR_H
#define DERPANET_BOOT_GRAMMAR_H

#include <stdbool.h>
#include <stddef.h>

/*
 * All take a NUL-terminated line without its newline and return NULL when it may be handed to its tool, else why not.
 * They never change the line.
 */
const char *check_set_line(const char *line);
/* `table` is "" outside of a table and is updated: *raw … COMMIT. */
const char *check_rule_line(const char *line, char table[16]);

bool is_set_name(const char *word, size_t length);
bool is_plain_word(const char *word, size_t length, const char *further);

#endif
