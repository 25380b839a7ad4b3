/*
 * drayage-runc: an OCI runtime in front of runc.
 *
 * Without a restore record for the container it becomes runc at once, unless
 * it is to start one that is barred: a reboot takes the record, not the bar. With
 * one, `create` and `start` ask the agent; a frozen copy that waits for its
 * verdict is kept from anything that would run or change it.
 *
 * Under the names criu-action and network-hook it is CRIU's action script and
 * the OCI hook of a restore; the directory of that name is the session's. As
 * criu it stands before the true one, in the PATH of the restore's runc.
 */
#include <stdio.h>
#include <string.h>

#include "drayage-runc.h"

static bool one_of(const char *word, const char *const *words)
{
	for (; *words; words++)
		if (!strcmp(word, *words))
			return true;
	return false;
}

/* A container without a restore record. */
static int without_record(const struct arguments *arguments, char *const argv[])
{
	static const char *const cold_starts[] = {"create", "start", "run", "restore", NULL};
	char migration[64];

	if (!one_of(arguments->subcommand, cold_starts) || !is_barred(arguments->id, migration, sizeof(migration)))
		return exec_runc(argv);
	set_report_log(arguments->log_path, arguments->log_json);
	report("%s refused: migration %s has not ended on this node, and another node may have this container; "
	       "the agent decides when it is up (systemctl status drayage-agent), see `dray migration inspect %s`",
	       arguments->subcommand, migration, migration);
	return 1;
}

static int as_runtime(int argc, char *const argv[])
{
	/* These would run, dump or thaw a copy that has no verdict yet. */
	static const char *const refused[] = {"exec", "checkpoint", "restore", "run", "pause", "resume", NULL};
	struct arguments arguments = parse_arguments(argc, argv);

	if (!arguments.subcommand || !arguments.id)
		return exec_runc(argv);
	if (record_presence(arguments.id) == RECORD_ABSENT)
		return without_record(&arguments, argv);
	set_report_log(arguments.log_path, arguments.log_json);
	if (!strcmp(arguments.subcommand, "create"))
		return create_by_restore(&arguments, argc, argv);
	if (!strcmp(arguments.subcommand, "start"))
		return ask_gate(&arguments, argc, argv);
	if (one_of(arguments.subcommand, refused)) {
		struct record record = read_record(arguments.id);

		if (record.presence == RECORD_UNREADABLE ||
		    (record.presence == RECORD_PRESENT && strcmp(record.state, "committed"))) {
			report("%s refused: this container is the frozen copy of a migration that is not decided yet; "
			       "wait until it is, see `dray migration ls`", arguments.subcommand);
			return 1;
		}
	}
	return exec_runc(argv);
}

int main(int argc, char *argv[])
{
	if (argc < 1)
		return 1;
	char *slash = strrchr(argv[0], '/');
	const char *name = slash ? slash + 1 : argv[0];

	if (slash && (!strcmp(name, "criu-action") || !strcmp(name, "network-hook"))) {
		bool action = !strcmp(name, "criu-action");

		*slash = '\0';
		return action ? criu_action(argv[0]) : network_hook(argv[0]);
	}
	if (!strcmp(name, "criu"))
		return held_criu(argc, argv);
	return as_runtime(argc, argv);
}
