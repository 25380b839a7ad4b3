/*
 * The `criu` of a restore's runc. What runc does before it needs CRIU takes as
 * long as CRIU itself, and needs none of the images: it is done while the
 * container still runs on its source. So the restore alone waits here: it says
 * by the session's file "runc-ready" that it has come so far, and goes on when
 * there is "images-complete". The file holds the claim of this process, which
 * becomes CRIU, so that the agent sees its end. All other questions go through.
 */
#include <stdio.h>
#include <stdlib.h>

#include "drayage-runc.h"
#include "true-criu.h"

int held_criu(int argc, char *const argv[])
{
	const char *session = getenv(SESSION_VARIABLE);

	if (session && criu_request(argc, argv) == CRIU_REQUEST_RESTORE) {
		char claim[CLAIM_SIZE];

		if (!write_claim(claim, sizeof(claim)) || !tell_in_session(session, "runc-ready", claim) ||
		    !wait_in_session(session, "images-complete"))
			return 1;
	}
	return become_true_criu(argv);
}
