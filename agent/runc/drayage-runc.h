/* What the parts of drayage-runc share. */
#ifndef DRAYAGE_RUNC_H
#define DRAYAGE_RUNC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifndef RECORD_DIRECTORY
#define RECORD_DIRECTORY "/run/drayage/restore"
#endif
#ifndef BAR_DIRECTORY
#define BAR_DIRECTORY "/var/lib/drayage/barred"
#endif
#ifndef SOCKET_DIRECTORY
#define SOCKET_DIRECTORY "/run/drayage"
#endif
#ifndef SESSION_DIRECTORY
#define SESSION_DIRECTORY "/run/drayage/sessions"
#endif
/* In the environment of a restore's runc. */
#define SESSION_VARIABLE "DRAYAGE_SESSION"
#define SOCKET_PATH SOCKET_DIRECTORY "/runtime.sock"

#define ID_LENGTH 64
#define PROTOCOL "drayage-runc/2"
#define MAX_FRAME (1u << 20)

/* arguments.c: runc's command line, as far as it matters here. */
struct arguments {
	const char *subcommand; /* NULL if there is none */
	const char *id;         /* a Docker id, or NULL */
	const char *pid_file;   /* --pid-file, or NULL */
	bool console;           /* --console-socket */
	const char *log_path;   /* --log, or NULL */
	bool log_json;          /* --log-format json */
};
struct arguments parse_arguments(int argc, char *const argv[]);

/* record.c: the restore record that the agent keeps. */
enum record_presence { RECORD_ABSENT, RECORD_PRESENT, RECORD_UNREADABLE };
struct record {
	enum record_presence presence;
	char state[32];
	char reason[1024];
	int64_t deadline_ms; /* boot-time clock */
};
/* Only looks whether it is there: the fast path. */
enum record_presence record_presence(const char *id);
struct record read_record(const char *id);

/*
 * start-bar.c: whether the container may belong to another node. Then `migration` gets the id of the migration
 * that says so, or "" if it cannot be read. True also where it cannot be told.
 */
bool is_barred(const char *id, char *migration, size_t size);

/* create.c: returns the exit code. */
int create_by_restore(const struct arguments *arguments, int argc, char *const argv[]);

/* gate.c: ask the agent, wait for its answer; returns the exit code, or execs. */
int ask_gate(const struct arguments *arguments, int argc, char *const argv[]);

/* support.c */
void set_report_log(const char *path, bool json);
void report(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Becomes runc; returns only on failure. */
int exec_runc(char *const argv[]);

int64_t boot_clock_ms(void);

/* session.c */
void note_in_session(const char *session, const char *what);
/* Makes a file of this name, whole from the first moment. */
bool tell_in_session(const char *session, const char *name, const char *text);
/*
 * Returns true when the session has a file of this name. False if the restore
 * is called off before, by its record or by the record's deadline: the agent
 * that would say so may be gone for good.
 */
bool wait_in_session(const char *session, const char *name);

/* criu-action.c, network-hook.c, held-criu.c: the other names of this program. */
int criu_action(const char *session);
int network_hook(const char *session);
int held_criu(int argc, char *const argv[]);

/* Reads a whole small file, at most size - 1 bytes; NUL-terminated. -1 on error. */
ssize_t read_small_file(const char *path, char *buffer, size_t size);

#define CLAIM_SIZE 64
/* Names this process for good by its pid and start time (field 22 of stat): over exec too, and never another one. */
bool write_claim(char *claim, size_t size);

/*
 * Replaces a file as a whole: whoever looks finds the old one, or the new one complete.
 * The draft is in the same directory. False if the file is as it was.
 */
bool replace_small_file(const char *path, const char *draft, const char *text, mode_t mode);

#endif
