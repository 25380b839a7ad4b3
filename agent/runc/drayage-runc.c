/*
 * drayage-runc: an OCI runtime in front of runc.
 *
 * Without a restore record for the container it becomes runc at once. With
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

static int as_runtime(int argc, char *const argv[])
{
	/* These would run, dump or thaw a copy that has no verdict yet. */
	static const char *const refused[] = {"exec", "checkpoint", "restore", "run", "pause", "resume", NULL};
	struct arguments arguments = parse_arguments(argc, argv);

	if (!arguments.subcommand || !arguments.id || record_presence(arguments.id) == RECORD_ABSENT)
		return exec_runc(argv);
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
