/* The end of every test program: runs one suite of Check. */
#ifndef QP_CHECK_MAIN_H
#define QP_CHECK_MAIN_H

#include <check.h>
#include <stdlib.h>

/* What main returns: 0 if tests ran and all held, 1 if one failed, 2 if none ran. CK_RUN_CASE and CK_RUN_SUITE choose
 * among tests by name, and a choice that matches nothing must not look like success. */
static inline int qp_check_main(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int ran = srunner_ntests_run(runner), failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    if (ran == 0) return 2;
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
