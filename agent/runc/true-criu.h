/* What programs need that stand before CRIU in the PATH of runc. */
#ifndef TRUE_CRIU_H
#define TRUE_CRIU_H

#include <stdbool.h>

/* enum criu_req_type of CRIU's images/rpc.proto. */
enum criu_request { CRIU_REQUEST_NONE = 0, CRIU_REQUEST_DUMP = 1, CRIU_REQUEST_RESTORE = 2 };

/*
 * What runc asks of the CRIU that it has started as `criu swrk FD`; it waits
 * for the question and leaves it to be read. CRIU_REQUEST_NONE for everything
 * that is not understood.
 */
int criu_request(int argc, char *const argv[]);

/* Becomes the first `criu` in the PATH that is not this program. Returns only on failure, with the exit code. */
int become_true_criu(char *const argv[]);

/* Whether that one is a program into which nothing can be loaded. */
bool is_static_criu(void);

#endif
