/* Small helpers: clock, files, messages, becoming runc. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "drayage-runc.h"

static const char *log_path;
static bool log_json;

int64_t boot_clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

ssize_t read_small_file(const char *path, char *buffer, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t length = 0;

	if (fd < 0)
		return -1;
	while (length < size - 1) {
		ssize_t got = read(fd, buffer + length, size - 1 - length);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			int error = errno;

			close(fd);
			errno = error;
			return -1;
		}
		if (got == 0)
			break;
		length += got;
	}
	close(fd);
	buffer[length] = '\0';
	return length;
}

bool write_claim(char *claim, size_t size)
{
	char stat[1024];
	char *field;

	if (read_small_file("/proc/self/stat", stat, sizeof(stat)) < 0 || !(field = strrchr(stat, ')')))
		return false;
	for (int spaces = 0; *field && spaces < 20; field++)
		spaces += *field == ' ';
	snprintf(claim, size, "%d-%lld", getpid(), strtoll(field, NULL, 10));
	return true;
}

bool replace_small_file(const char *path, const char *draft, const char *text, mode_t mode)
{
	size_t length = strlen(text);
	int fd = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

	if (fd < 0)
		return false;
	bool written = write(fd, text, length) == (ssize_t)length;
	close(fd);
	return written && rename(draft, path) == 0;
}

void set_report_log(const char *path, bool json)
{
	log_path = path;
	log_json = json;
}

static void write_quoted(FILE *to, const char *text)
{
	fputc('"', to);
	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		if (*c == '"' || *c == '\\')
			fprintf(to, "\\%c", *c);
		else if (*c < 0x20)
			fprintf(to, "\\u%04x", *c);
		else
			fputc(*c, to);
	}
	fputc('"', to);
}

/* Says it where containerd looks for a runtime's last error (--log), and on stderr. */
void report(const char *format, ...)
{
	char message[4096];
	char now[32];
	time_t seconds = time(NULL);
	struct tm utc;
	va_list values;

	va_start(values, format);
	vsnprintf(message, sizeof(message), format, values);
	va_end(values);
	strftime(now, sizeof(now), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &utc));
	fprintf(stderr, "drayage-runc: %s\n", message);
	FILE *log = log_path ? fopen(log_path, "ae") : NULL;
	if (!log)
		return;
	if (log_json) {
		fputs("{\"level\":\"error\",\"msg\":", log);
		write_quoted(log, message);
		fprintf(log, ",\"time\":\"%s\"}\n", now);
	} else {
		fprintf(log, "time=\"%s\" level=error msg=", now);
		write_quoted(log, message);
		fputc('\n', log);
	}
	fclose(log);
}

static const char *const runc_paths[] = {
#ifdef RUNC_PATH
	RUNC_PATH,
#endif
	"/usr/bin/runc", "/usr/sbin/runc", "/usr/local/bin/runc", "/usr/local/sbin/runc",
};

int exec_runc(char *const argv[])
{
	struct stat self, candidate;
	bool known = stat("/proc/self/exe", &self) == 0;

	for (size_t i = 0; i < sizeof(runc_paths) / sizeof(*runc_paths); i++) {
		/* Someone may have put this program in runc's place: never exec oneself. */
		if (stat(runc_paths[i], &candidate))
			continue;
		if (known && self.st_dev == candidate.st_dev && self.st_ino == candidate.st_ino)
			continue;
		execv(runc_paths[i], argv);
	}
	report("cannot run runc: %s; install the package runc", strerror(errno));
	return 1;
}
