/* A decode step that is recorded once and replayed for each token. Token, position and the number of keys stay on the
 * device: a replay ends with its own token as the input of the next, so the host only reads what was predicted, behind the
 * device, and is never waited for. The tokens are those of ordinary passes.
 * Some of its nodes can be recorded alone, to be timed: then nothing is predicted, and each replay is the same. */
#ifndef QP_RECORDED_STEP_H
#define QP_RECORDED_STEP_H

#include "execute.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct qp_recorded_step {
    qp_plan *plan; /* borrowed, as the store */
    qp_store *store;
    void *orders;    /* on the device: qp_attention_order for each number of keys */
    void *predicted; /* on the device: int64_t for each position of the cache, the token predicted there */
    qp_recording *recording;
    int64_t enqueued; /* the position of the next replay */
} qp_recorded_step;

/* Whether the nodes n of the plan with chosen[n], or all with NULL, and what the selection runs in them, can be recorded on
 * the store's device. QP_UNSUPPORTED, and a sentence that says why: the plan must be of one token, every node that depends on
 * the number of keys must be a fused one, which reads it on the device (qp_replay), none may run on the host, and the CPU
 * records nothing. */
QP_MUST_USE qp_status qp_recorded_step_check(const qp_plan *plan, const qp_selection *selection, const qp_store *store,
                                             const bool *chosen);

/* Records it, for all numbers of keys up to the plan's capacity. The store must be prepared for the plan, and not be prepared
 * for a larger one as long as the step is open. Overwrites the last row of the cache and all values. Failures: those of
 * qp_recorded_step_check, QP_NO_MEMORY, QP_DEVICE. On failure *step is all zero, which qp_recorded_step_close accepts. */
QP_MUST_USE qp_status qp_recorded_step_open(qp_plan *plan, const qp_selection *selection, qp_store *store,
                                            const bool *chosen, qp_recorded_step *step);
/* Waits for what was enqueued. Before the store and the device are closed. */
void qp_recorded_step_close(qp_recorded_step *step);

/* The next replay is fed `token` at position `past`, behind as many keys; sets the plan's past to that. Waits for all before.
 * Failures are those of qp_plan_set_past and qp_store_set_inputs. */
QP_MUST_USE qp_status qp_recorded_step_start(qp_recorded_step *step, int64_t past, int64_t token);

/* Enqueues so many replays, one behind the other. QP_INVALID if the cache has no room for their keys. */
QP_MUST_USE qp_status qp_recorded_step_replay(qp_recorded_step *step, int64_t count);

/* What the last replays from position `past` on have predicted, one token each; waits for everything enqueued. */
QP_MUST_USE qp_status qp_recorded_step_read(const qp_recorded_step *step, int64_t past, int64_t count, int64_t *tokens);

/* What is predicted at `position`, the one at which the step was started, then the next and so on, each once. Enqueues what
 * leads to it and a few replays more, as far as the cache has room, so that the device goes on while the host reads. */
QP_MUST_USE qp_status qp_recorded_step_next(qp_recorded_step *step, int64_t position, int64_t *token);

#ifdef __cplusplus
}
#endif
#endif
