// SPDX-License-Identifier: Apache-2.0
/*
 * Which lines iptables-restore and ipset may be given at boot. An allow-list: our chains, our sets, our jumps from the
 * kernel's chains, and the options of this file. Not in it, on purpose: anything that names a file, a program or a module
 * to load (-M, --object-pinned, --rfile…), and anything that touches what is not ours (-D, -F, -X, -P).
 * A line that the daemon's compiler may print and this file does not know fails test/kernel/boot.test.ts.
 */
#include <string.h>
#include "boot-grammar.h"

#define WORDS_MAX 64
#define LINE_MAX_BYTES 2048

struct word {
	const char *at;
	size_t length;
};

static bool is(struct word word, const char *text)
{
	return word.length == strlen(text) && !memcmp(word.at, text, word.length);
}

static bool is_one_of(struct word word, const char *const *list)
{
	for (; *list; list++)
		if (is(word, *list))
			return true;
	return false;
}

bool is_plain_word(const char *word, size_t length, const char *further)
{
	for (size_t i = 0; i < length; i++) {
		char c = word[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr(further, c))))
			return false;
	}
	return length > 0;
}

/* Words between single spaces; one in double quotes is one word. NULL = fine. */
static const char *split(const char *line, struct word words[WORDS_MAX], int *count)
{
	*count = 0;
	if (strlen(line) >= LINE_MAX_BYTES)
		return "line too long";
	for (const char *at = line; *at; at++)
		if (*at < ' ' || *at > '~')
			return "a byte that is not printable ASCII";
	while (*line) {
		struct word *word = &words[*count];

		if (*count == WORDS_MAX)
			return "too many words";
		word->at = line;
		if (*line == '"') {
			for (line++; *line && *line != '"'; line++)
				if (*line == '\\' && line[1])
					line++;
			if (!*line++)
				return "a quote that does not end";
		} else {
			while (*line && *line != ' ') {
				if (*line == '"' || *line == '\'' || *line == '\\')
					return "a quote inside of a word";
				line++;
			}
		}
		word->length = line - word->at;
		if (word->length == 0)
			return "two spaces";
		(*count)++;
		if (*line == ' ' && !*++line)
			return "a space at the end";
	}
	return *count ? NULL : "empty line";
}

static bool has_prefix(struct word word, const char *prefix, size_t min, size_t max)
{
	size_t length = strlen(prefix);

	return word.length >= min && word.length <= max && word.length > length && !memcmp(word.at, prefix, length);
}

static bool is_chain(struct word word)
{
	return has_prefix(word, "DERPA_", 7, 28) && is_plain_word(word.at, word.length, "_-");
}

bool is_set_name(const char *word, size_t length)
{
	return has_prefix((struct word){ word, length }, "derpa-", 7, 31) && is_plain_word(word, length, "_-");
}

static bool is_number(struct word word)
{
	return word.length <= 10 && is_plain_word(word.at, word.length, "") && word.at[0] >= '0' && word.at[0] <= '9';
}

/* ---- ipset --------------------------------------------------------------------------------------------------------- */

static const char *const set_options[] = { "hashsize", "maxelem", "timeout", "netmask", "markmask", "bucketsize", NULL };
static const char *const set_parts[] = { "ip", "net", "mac", "port", "mark", "iface", NULL };

static bool is_set_type(struct word word)
{
	const char *at = word.at + 5, *end = word.at + word.length;

	if (is(word, "bitmap:port"))
		return true;
	if (word.length < 7 || memcmp(word.at, "hash:", 5))
		return false;
	for (int part = 0; part < 3; part++) {
		const char *comma = memchr(at, ',', end - at);

		if (!is_one_of((struct word){ at, (comma ? comma : end) - at }, set_parts))
			return false;
		if (!comma)
			return true;
		at = comma + 1;
	}
	return false;
}

const char *check_set_line(const char *line)
{
	struct word words[WORDS_MAX];
	const char *problem;
	int count, at = 3;

	problem = split(line, words, &count);
	if (problem)
		return problem;
	if (count < 3)
		return "too few words";
	if (!is_set_name(words[1].at, words[1].length))
		return "not a set of ours";
	if (is(words[0], "add")) {
		if (words[2].length > 200 || words[2].at[0] == '-' || !is_plain_word(words[2].at, words[2].length, ".:,/_@+-#"))
			return "not an element";
		if (count == 5 && is(words[3], "timeout") && is_number(words[4]))
			return NULL;
		/* the beginning of interface names */
		if (count == 4 && is(words[3], "wildcard"))
			return NULL;
		return count == 3 ? NULL : "more than an element";
	}
	if (!is(words[0], "create"))
		return "neither create nor add";
	if (!is_set_type(words[2]))
		return "set type is not known";
	while (at < count) {
		if (is(words[at], "counters")) {
			at++;
		} else if (at + 1 == count) {
			return "option without value";
		} else if (is(words[at], "family") && (is(words[at + 1], "inet") || is(words[at + 1], "inet6"))) {
			at += 2;
		} else if (is(words[at], "range") && is(words[at + 1], "0-65535")) {
			at += 2;
		} else if (is_one_of(words[at], set_options) && is_number(words[at + 1])) {
			at += 2;
		} else {
			return "set option is not known";
		}
	}
	return NULL;
}

/* ---- iptables ------------------------------------------------------------------------------------------------------ */

static const char *const tables[] = { "raw", "mangle", "nat", "filter", "security", NULL };
static const char *const base_chains[] = { "PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING", NULL };
static const char *const modules[] = {
	"addrtype", "comment", "connlimit", "connmark", "conntrack", "dccp", "dscp", "hashlimit", "helper", "icmp", "icmp6", "iprange", "length", "limit",
	"mac", "mark", "multiport", "owner", "pkttype", "policy", "rpfilter", "sctp", "set", "state", "statistic", "tcp", "tcpmss", "time", "udp", NULL,
};
static const char *const targets[] = {
	"ACCEPT", "AUDIT", "CONNMARK", "CT", "DNAT", "DROP", "LOG", "MARK", "MASQUERADE", "NETMAP", "NFLOG", "REDIRECT", "REJECT", "RETURN", "SET", "SNAT",
	"TCPMSS", NULL,
};

enum argument { NONE, PLAIN, TWO, INTERFACE, NUMBER, TEXT, SET, MODULE, TARGET, CHAIN };

static const struct {
	const char *name;
	enum argument argument;
} rule_options[] = {
	{ "!", NONE },
	{ "-p", PLAIN }, { "-s", PLAIN }, { "-d", PLAIN }, { "-i", INTERFACE }, { "-o", INTERFACE }, { "-m", MODULE }, { "-j", TARGET }, { "-g", CHAIN },
	{ "--match-set", SET }, { "--return-nomatch", NONE },
	{ "--ctstate", PLAIN }, { "--ctstatus", PLAIN }, { "--ctdir", PLAIN }, { "--ctproto", PLAIN }, { "--ctorigdst", PLAIN }, { "--ctorigdstport", PLAIN },
	{ "--state", PLAIN }, { "--src-type", PLAIN }, { "--dst-type", PLAIN }, { "--limit-iface-in", NONE },
	{ "--mac-source", PLAIN }, { "--mark", PLAIN }, { "--pkt-type", PLAIN }, { "--icmp-type", PLAIN }, { "--icmpv6-type", PLAIN },
	{ "--sport", PLAIN }, { "--dport", PLAIN }, { "--sports", PLAIN }, { "--dports", PLAIN }, { "--ports", PLAIN }, { "--tcp-flags", TWO }, { "--syn", NONE },
	{ "--src-range", PLAIN }, { "--dst-range", PLAIN }, { "--mss", PLAIN }, { "--length", PLAIN }, { "--dscp", PLAIN }, { "--helper", PLAIN },
	{ "--limit", PLAIN }, { "--limit-burst", NUMBER }, { "--connlimit-above", NUMBER }, { "--connlimit-upto", NUMBER }, { "--connlimit-mask", NUMBER },
	{ "--connlimit-saddr", NONE }, { "--connlimit-daddr", NONE },
	{ "--hashlimit-upto", PLAIN }, { "--hashlimit-above", PLAIN }, { "--hashlimit-burst", PLAIN }, { "--hashlimit-mode", PLAIN },
	{ "--hashlimit-name", PLAIN }, { "--hashlimit-srcmask", NUMBER }, { "--hashlimit-dstmask", NUMBER }, { "--hashlimit-htable-size", NUMBER },
	{ "--hashlimit-htable-max", NUMBER }, { "--hashlimit-htable-expire", NUMBER }, { "--hashlimit-htable-gcinterval", NUMBER },
	{ "--uid-owner", PLAIN }, { "--gid-owner", PLAIN }, { "--dir", PLAIN }, { "--pol", PLAIN }, { "--loose", NONE }, { "--validmark", NONE },
	{ "--accept-local", NONE }, { "--invert", NONE }, { "--mode", PLAIN }, { "--probability", PLAIN }, { "--every", NUMBER }, { "--packet", NUMBER },
	{ "--timestart", PLAIN }, { "--timestop", PLAIN }, { "--datestart", PLAIN }, { "--datestop", PLAIN }, { "--weekdays", PLAIN }, { "--monthdays", PLAIN },
	{ "--kerneltz", NONE }, { "--contiguous", NONE }, { "--comment", TEXT },
	{ "--reject-with", PLAIN }, { "--set-mark", PLAIN }, { "--set-xmark", PLAIN }, { "--and-mark", PLAIN }, { "--or-mark", PLAIN }, { "--xor-mark", PLAIN },
	{ "--save-mark", NONE }, { "--restore-mark", NONE }, { "--nfmask", PLAIN }, { "--ctmask", PLAIN },
	{ "--log-prefix", TEXT }, { "--log-level", PLAIN }, { "--log-uid", NONE }, { "--log-tcp-options", NONE }, { "--log-ip-options", NONE },
	{ "--nflog-prefix", TEXT }, { "--nflog-group", NUMBER }, { "--nflog-size", NUMBER }, { "--nflog-range", NUMBER }, { "--nflog-threshold", NUMBER },
	{ "--type", PLAIN }, { "--to", PLAIN }, { "--to-destination", PLAIN }, { "--to-source", PLAIN }, { "--to-ports", PLAIN }, { "--random", NONE },
	{ "--random-fully", NONE }, { "--persistent", NONE }, { "--clamp-mss-to-pmtu", NONE }, { "--set-mss", NUMBER }, { "--notrack", NONE }, { "--zone", NUMBER },
	{ "--add-set", SET }, { "--del-set", SET }, { "--exist", NONE }, { "--timeout", NUMBER },
};

static bool is_direction(struct word word)
{
	return is_plain_word(word.at, word.length, ",") && word.length <= 24;
}

/* Options and their values from words[at] on. `jump` = only a jump to a chain of ours may end it. */
static const char *check_rule(const struct word *words, int at, int count, bool jump)
{
	bool leads_to_us = false;

	while (at < count) {
		const struct word *value = &words[at + 1];
		enum argument argument = NONE;
		size_t row, rows = sizeof(rule_options) / sizeof(rule_options[0]);
		int values;

		for (row = 0; row < rows && !is(words[at], rule_options[row].name); row++)
			;
		if (row == rows)
			return "option is not known";
		argument = rule_options[row].argument;
		values = argument == NONE ? 0 : argument == SET || argument == TWO ? 2 : 1;
		if (at + values >= count)
			return "option without value";
		if (values > 0 && argument != TEXT && value->at[0] == '-')
			return "an option instead of a value";
		switch (argument) {
		case NONE:
			break;
		case TWO:
			if (!is_plain_word(value[1].at, value[1].length, ",_"))
				return "value is not known";
			/* fall through */
		case PLAIN:
			if (value->length > 200 || !is_plain_word(value->at, value->length, "_.,:/+*#@[]-"))
				return "value is not known";
			break;
		case INTERFACE:
			if (value->length > 15 || !is_plain_word(value->at, value->length, "_.@#~=%,^&(){}<>?[]|:+-"))
				return "not an interface";
			break;
		case NUMBER:
			if (!is_number(*value))
				return "not a number";
			break;
		case TEXT:
			if (value->length > 300)
				return "text too long";
			break;
		case SET:
			if (!is_set_name(value[0].at, value[0].length) || !is_direction(value[1]))
				return "not a set of ours";
			break;
		case MODULE:
			if (!is_one_of(*value, modules))
				return "match is not known";
			break;
		case TARGET:
			leads_to_us = is_chain(*value);
			if (!leads_to_us && (jump || !is_one_of(*value, targets)))
				return "target is not known";
			break;
		case CHAIN:
			leads_to_us = is_chain(*value);
			if (!leads_to_us)
				return "not a chain of ours";
			break;
		}
		at += 1 + values;
	}
	return jump && !leads_to_us ? "leads nowhere of ours" : NULL;
}

const char *check_rule_line(const char *line, char table[16])
{
	struct word words[WORDS_MAX];
	int count;
	const char *problem = split(line, words, &count);

	if (problem)
		return problem;
	if (!table[0]) {
		struct word name = { line + 1, words[0].length - 1 };

		if (line[0] != '*' || count != 1 || !is_one_of(name, tables))
			return "not the beginning of a table";
		memcpy(table, name.at, name.length);
		table[name.length] = 0;
		return NULL;
	}
	if (is(words[0], "COMMIT")) {
		table[0] = 0;
		return count == 1 ? NULL : "more than COMMIT";
	}
	if (line[0] == ':') {
		if (!is_chain((struct word){ line + 1, words[0].length - 1 }))
			return "not a chain of ours";
		return count == 3 && is(words[1], "-") && is(words[2], "[0:0]") ? NULL : "a chain of ours has no policy and no counters";
	}
	if (is(words[0], "-A"))
		return count > 2 && is_chain(words[1]) ? check_rule(words, 2, count, false) : "not a rule of a chain of ours";
	if (is(words[0], "-I"))
		return count > 4 && is_one_of(words[1], base_chains) && is(words[2], "1") ? check_rule(words, 3, count, true) : "not a jump from a chain of the kernel's";
	return "command is not known";
}
