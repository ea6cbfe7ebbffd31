/* What a Qwen3 folder says about its model: config.json and generation_config.json. */
#ifndef QP_CONFIG_H
#define QP_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "../kernels/status.h"
#include "json.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { QP_CONFIG_MAX_EOS = 8 };

typedef struct qp_config {
    /* config.json. Each size is at least 1. num_attention_heads * head_dim is in general not hidden_size. */
    int64_t hidden_size;
    int64_t intermediate_size;
    int64_t num_hidden_layers;
    int64_t num_attention_heads;
    int64_t num_key_value_heads; /* divides num_attention_heads */
    int64_t head_dim;            /* even */
    int64_t vocab_size;          /* rows of the embedding, at least the tokenizer's own vocabulary */
    int64_t max_position_embeddings;
    float rms_norm_eps; /* the float nearest to the text's value */
    double rope_theta;
    bool tie_word_embeddings;
    char dtype[16]; /* "bfloat16" */
    /* generation_config.json where it says so, config.json otherwise */
    int64_t bos_id; /* -1: none */
    int64_t eos_ids[QP_CONFIG_MAX_EOS];
    int eos_count; /* 0: generation stops only at its limit */
    /* Sampling that the folder recommends. Without generation_config.json: greedy. */
    bool do_sample;
    double temperature; /* > 0; 1 if not given */
    int64_t top_k;      /* 0: no limit, also if not given */
    double top_p;       /* 0 < top_p <= 1; 1 if not given */
} qp_config;

/* Reads DIR/config.json and, if there is one, DIR/generation_config.json.
 * QP_IO or QP_FORMAT: a file cannot be read or is wrong. QP_UNSUPPORTED: a model that is not a dense Qwen3 in bf16
 * without rope scaling, sliding window or attention bias. On failure *config is all zero. */
QP_MUST_USE qp_status qp_config_read(const char *dir, qp_config *config);

/* The same from the text of a config.json alone; `origin` is what messages call it. */
QP_MUST_USE qp_status qp_config_from_json_text(const char *text, const char *origin, qp_config *config);

/* The first of the fields that decide the arithmetic (sizes, rms_norm_eps, rope_theta, tie_word_embeddings) in
 * which the two differ, or NULL. Token ids, sampling and dtype are not compared. */
const char *qp_config_difference(const qp_config *a, const qp_config *b);

#ifdef __cplusplus
}
#endif
#endif
