#include "coherence.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../kernels/numerics/strict_fp.h"
#include "../model/json.h"

struct qp_coherence_prompts {
    qp_json *json; /* owns the texts */
    qp_coherence_prompt *items;
    int count;
};

static qp_status read_prompt(qp_json_node entry, const char *name, double min_margin, bool is_twin,
                             qp_coherence_prompt *prompt)
{
    *prompt = (qp_coherence_prompt){ .name = name, .is_twin = is_twin, .min_margin = min_margin };
    QP_TRY(qp_json_get_string(entry, "prompt", &prompt->prompt));
    QP_TRY(qp_json_get_string(entry, "answer", &prompt->answer));
    if (!*prompt->prompt || !*prompt->answer)
        return qp_fail(QP_FORMAT, "the coherence prompt '%s' has an empty prompt or answer", name);
    return QP_OK;
}

static qp_status read_pair(qp_json_node entry, qp_coherence_prompt pair[2])
{
    const char *name = NULL;
    double min_margin = 0.0;
    qp_json_node twin;
    QP_TRY(qp_json_get_string(entry, "name", &name));
    QP_TRY(qp_json_get_double(entry, "min_margin", &min_margin));
    if (!(min_margin >= 0.0 && isfinite(min_margin)))
        return qp_fail(QP_FORMAT, "min_margin of the coherence prompt '%s' is %g, it must not be negative", name,
                       min_margin);
    QP_TRY(read_prompt(entry, name, min_margin, false, &pair[0]));
    QP_TRY(qp_json_get_object(entry, "twin", &twin));
    QP_TRY(read_prompt(twin, name, min_margin, true, &pair[1]));
    if (!strcmp(pair[0].answer, pair[1].answer))
        return qp_fail(QP_FORMAT, "the coherence prompt '%s' and its twin have the same answer", name);
    return QP_OK;
}

qp_status qp_coherence_open(const char *path, qp_coherence_prompts **prompts)
{
    static const char schema[] = "qwen3-parity-coherence/1";
    qp_coherence_prompts *p = calloc(1, sizeof *p);
    qp_json_node list = { 0 };
    const char *found = NULL;
    *prompts = NULL;
    if (!p) return qp_fail(QP_NO_MEMORY, "no memory for the coherence prompts");
    qp_status status = qp_json_read_file(path, &p->json);
    if (status == QP_OK) status = qp_json_get_string(qp_json_root(p->json), "schema", &found);
    if (status == QP_OK && strcmp(found, schema) != 0)
        status = qp_fail(QP_FORMAT, "%s has the schema '%s', not '%s'", path, found, schema);
    if (status == QP_OK) status = qp_json_get_array(qp_json_root(p->json), "prompts", &list);
    if (status == QP_OK) {
        p->items = calloc((size_t)qp_json_count(list) * 2 + 1, sizeof *p->items);
        if (!p->items) status = qp_fail(QP_NO_MEMORY, "no memory for the coherence prompts");
    }
    for (qp_json_node n = qp_json_first(list); status == QP_OK && n.item; n = qp_json_next(n)) {
        status = read_pair(n, p->items + p->count);
        p->count += 2;
    }
    if (status == QP_OK && p->count == 0) status = qp_fail(QP_FORMAT, "%s holds no prompt", path);
    if (status == QP_OK)
        *prompts = p;
    else
        qp_coherence_close(p);
    return status;
}

void qp_coherence_close(qp_coherence_prompts *prompts)
{
    if (!prompts) return;
    qp_json_free(prompts->json);
    free(prompts->items);
    free(prompts);
}

int qp_coherence_count(const qp_coherence_prompts *prompts) { return prompts->count; }
const qp_coherence_prompt *qp_coherence_at(const qp_coherence_prompts *prompts, int index)
{
    return &prompts->items[index];
}

/* ---- Running one. ---- */

typedef struct listener {
    qp_coherence_result *result;
    int64_t first_token, vocabulary;
    size_t length; /* of result->text */
} listener;

static void judge_logits(void *context, int64_t step, const qp_bf16 *logits)
{
    listener *l = context;
    if (step != 0) return;
    const float answer = qp_bf16_to_f32(logits[l->first_token]);
    float best_other = -1.0f / 0.0f;
    l->result->rank = 1;
    for (int64_t i = 0; i < l->vocabulary; i++) {
        const float logit = qp_bf16_to_f32(logits[i]);
        if (i == l->first_token) continue;
        if (!(logit < answer)) l->result->rank++; /* a tie or a NaN counts against the answer */
        if (logit > best_other) best_other = logit;
    }
    l->result->margin = (double)answer - (double)best_other;
}

static bool collect_text(void *context, int64_t id, const char *text, int64_t bytes)
{
    listener *l = context;
    (void)id;
    for (int64_t i = 0; i < bytes; i++) {
        const bool blank = text[i] == ' ' || text[i] == '\n';
        if (l->length == 0 && blank) continue; /* before the answer */
        if (text[i] == '.' || text[i] == '\n' || l->length + 1 == sizeof l->result->text) return false;
        l->result->text[l->length++] = text[i];
    }
    return true;
}

/* The id that follows the prompt's ids when the answer stands behind it: after a space, or in a chat at once. */
static qp_status find_first_token(const qp_tokenizer *tokenizer, const qp_coherence_prompt *prompt, const int64_t *ids,
                                  int64_t count, int64_t *first)
{
    const size_t prompt_bytes = strlen(prompt->prompt), answer_bytes = strlen(prompt->answer);
    const bool space = prompt->prompt[prompt_bytes - 1] != '\n';
    char *joined = malloc(prompt_bytes + answer_bytes + 2);
    int64_t *joined_ids = NULL, joined_count = 0;
    if (!joined) return qp_fail(QP_NO_MEMORY, "no memory for the coherence prompt '%s'", prompt->name);
    memcpy(joined, prompt->prompt, prompt_bytes);
    if (space) joined[prompt_bytes] = ' ';
    memcpy(joined + prompt_bytes + space, prompt->answer, answer_bytes);
    qp_status status = qp_tokenizer_encode(tokenizer, joined, (int64_t)(prompt_bytes + space + answer_bytes),
                                           &joined_ids, &joined_count);
    if (status == QP_OK && (joined_count <= count || memcmp(joined_ids, ids, (size_t)count * sizeof *ids) != 0))
        status = qp_fail(QP_FORMAT, "the answer of the coherence prompt '%s' does not begin with a token of its own",
                         prompt->name);
    if (status == QP_OK) *first = joined_ids[count];
    free(joined_ids);
    free(joined);
    return status;
}

qp_status qp_coherence_run(const qp_runtime *runtime, const qp_tokenizer *tokenizer, const qp_selection *selection,
                           qp_fusions fusions, const qp_coherence_prompt *prompt, qp_coherence_result *result)
{
    int64_t *ids = NULL, count = 0;
    listener l = { .result = result, .vocabulary = runtime->model->config.vocab_size };
    qp_generated generated;
    memset(result, 0, sizeof *result);
    QP_TRY(qp_tokenizer_encode(tokenizer, prompt->prompt, (int64_t)strlen(prompt->prompt), &ids, &count));
    qp_status status = find_first_token(tokenizer, prompt, ids, count, &l.first_token);
    if (status == QP_OK) {
        const qp_generate_options options = { .max_tokens = 48,
                                              .sampling = { .top_p = 1.0 },
                                              .fusions = fusions,
                                              .on_logits = judge_logits,
                                              .on_token = collect_text,
                                              .context = &l };
        status = qp_generate(runtime, tokenizer, selection, ids, count, &options, &generated);
    }
    free(ids);
    if (status != QP_OK) return status;
    while (l.length && result->text[l.length - 1] == ' ') l.length--;
    result->text[l.length] = '\0';
    result->seconds = generated.prompt_seconds + generated.decode_seconds;
    result->text_is_right = strcmp(result->text, prompt->answer) == 0;
    result->passed = result->text_is_right && result->rank == 1 && result->margin >= prompt->min_margin;
    return QP_OK;
}
