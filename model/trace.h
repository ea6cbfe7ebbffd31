/* Ranges on a profiler's time line, through NVTX. The only door to it: no other file includes its headers.
 *
 * The domain is "qwen3-parity". A range's name is constant, so that a tool can add up all ranges of a node: its module
 * path, the golden path of a phase, or a word. What varies is in the payload: layer, position, bytes.
 *
 * Whether a tool listens is settled at the first call, when NVTX looks for one, and then never changes. Without a tool,
 * or without NVTX's headers at build time, nothing here does anything. Call from one thread only. */
#ifndef QP_TRACE_H
#define QP_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum qp_trace_category {
    QP_TRACE_MODEL = 1, /* a pass; 0 is NVTX's "no category" */
    QP_TRACE_KERNEL,    /* a node of the plan */
    QP_TRACE_VERIFY,    /* a phase of a golden */
    QP_TRACE_IO,
    QP_TRACE_BENCH
} qp_trace_category;

/* Whether a tool listens. For callers that would have to compute what they push. */
bool qp_trace_is_on(void);

/* Begins a range, which ends with the matching qp_trace_pop; ranges nest. `name` is read during the call only; each
 * text is registered with the tool once, and kept until the program ends. `layer`: -1 outside the layers. `position`:
 * of the first token of the pass. `bytes`: compulsory traffic (qp_cost), or what is read or written. */
void qp_trace_push(qp_trace_category category, const char *name, int64_t layer, int64_t position, uint64_t bytes);
void qp_trace_pop(void);

#ifdef __cplusplus
}
#endif
#endif
