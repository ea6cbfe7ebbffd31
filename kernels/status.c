#include "status.h"

#include <stdarg.h>
#include <stdio.h>

static _Thread_local char last_error[1024];

const char *qp_status_name(qp_status status)
{
    switch (status) {
#define X(name, text)                                                                                                  \
    case name: return #name;
        QP_STATUS_LIST(X)
#undef X
    }
    return "unknown status";
}

qp_status qp_fail(qp_status status, const char *format, ...)
{
    /* The arguments may point into last_error itself, as when a sentence is put around another. */
    char text[sizeof last_error];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    (void)snprintf(last_error, sizeof last_error, "%s", text);
    return status;
}

const char *qp_last_error(void) { return last_error; }
