/* Finds subcommand, container id, and some flags among runc's arguments. */
#include <string.h>

#include "drayage-runc.h"

static const char *const global_flags_with_value[] = {"--log", "--log-format", "--root", "--criu", "--rootless"};

static bool takes_value(const char *flag)
{
	size_t count = sizeof(global_flags_with_value) / sizeof(*global_flags_with_value);

	for (size_t i = 0; i < count; i++)
		if (!strcmp(flag, global_flags_with_value[i]))
			return true;
	return false;
}

static bool is_docker_id(const char *text)
{
	return strlen(text) == ID_LENGTH && strspn(text, "0123456789abcdef") == ID_LENGTH;
}

/* Value of --name VALUE or --name=VALUE at argv[i]; NULL if argv[i] is another flag. */
static const char *flag_value(const char *name, int argc, char *const argv[], int i)
{
	size_t length = strlen(name);

	if (strncmp(argv[i], name, length))
		return NULL;
	if (argv[i][length] == '=')
		return argv[i] + length + 1;
	return argv[i][length] == '\0' && i + 1 < argc ? argv[i + 1] : NULL;
}

struct arguments parse_arguments(int argc, char *const argv[])
{
	struct arguments found = {0};
	int i = 1;

	for (; i < argc && argv[i][0] == '-'; i++) {
		const char *value;

		if ((value = flag_value("--log", argc, argv, i)))
			found.log_path = value;
		if ((value = flag_value("--log-format", argc, argv, i)))
			found.log_json = !strcmp(value, "json");
		if (takes_value(argv[i]))
			i++;
	}
	if (i >= argc)
		return found;
	found.subcommand = argv[i];
	/* exec carries a command behind the id, the others end with the id (kill: with a signal). */
	bool first_wins = !strcmp(found.subcommand, "exec");
	for (i++; i < argc; i++) {
		const char *value = flag_value("--pid-file", argc, argv, i);

		if (value)
			found.pid_file = value;
		if (flag_value("--console-socket", argc, argv, i))
			found.console = true;
		if (!is_docker_id(argv[i]))
			continue;
		found.id = argv[i];
		if (first_wins)
			break;
	}
	return found;
}
