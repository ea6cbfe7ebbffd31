/* Status codes: whether the code could do its work. Whether the numbers are right is a verdict
 * (harness/verdict.h), never a status. C11, also C++. */
#ifndef QP_STATUS_H
#define QP_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#define QP_STATUS_LIST(X)                                                                                              \
    X(QP_OK, "ok")                                                                                                     \
    X(QP_USAGE, "the command line asks for something that does not exist")                                             \
    X(QP_INVALID, "a caller broke a contract")                                                                         \
    X(QP_UNSUPPORTED, "valid, but this program or implementation does not do it")                                      \
    X(QP_NO_MEMORY, "not enough memory")                                                                               \
    X(QP_IO, "a file could not be read or written")                                                                    \
    X(QP_FORMAT, "a file was read, but does not hold what it should")                                                  \
    X(QP_DEVICE, "no usable device")

typedef enum qp_status {
#define X(name, text) name,
    QP_STATUS_LIST(X)
#undef X
} qp_status;

#define QP_MUST_USE __attribute__((warn_unused_result))

/* "QP_FORMAT" for QP_FORMAT, and so on. */
const char *qp_status_name(qp_status status);

/* Keeps one sentence for people (what was wrong, where, what to do; no line break, no full stop at
 * the end) for the calling thread, and returns `status`. Code branches on the status, never on the text. */
qp_status qp_fail(qp_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The sentence of the last qp_fail of this thread; "" if there was none. Valid until the next qp_fail. */
const char *qp_last_error(void);

/* Returns early with the status of a call that failed. For functions that own nothing yet;
 * a function that owns something has one `done:` label instead. */
#define QP_TRY(call)                                                                                                   \
    do {                                                                                                               \
        const qp_status qp_try_status = (call);                                                                        \
        if (qp_try_status != QP_OK) return qp_try_status;                                                              \
    } while (0)

#ifdef __cplusplus
}
#endif
#endif
