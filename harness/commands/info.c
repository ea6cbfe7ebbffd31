#include <string.h>

#include "../../kernels/numerics/matrix_fma.h"
#include "../../model/device.h"
#include "../../model/model.h"
#include "../environment.h"
#include "../golden.h"
#include "commands.h"

static const char *model_path, *golden_path;

static const qp_option options[] = {
    { "model", "DIR", "describe this model (default: the embedded one)", QP_OPTION_TEXT, &model_path },
    { "golden", "FILE", "describe this golden (default: the embedded one, if no model is named)", QP_OPTION_TEXT,
      &golden_path },
    { .name = NULL },
};

static qp_status print_backends(void)
{
    qp_device *device = NULL;
    QP_TRY(qp_device_open(QP_CPU, &device)); /* which reads QP_VECTORS */
    qp_device_close(device);
    printf("backends   cpu, with vectors of");
    for (const char *const *name = qp_vector_paths(); *name; name++)
        printf(" %s%s", *name, strcmp(*name, qp_vector_path_name()) ? "" : " (in use)");
    printf("\n");
    if (qp_device_open(QP_CUDA, &device) != QP_OK) {
        printf("           no cuda: %s\n", qp_last_error());
        return QP_OK;
    }
    const qp_device_facts facts = qp_device_describe(device);
    printf("           cuda: %s; compute capability %d.%d, %d multiprocessors, %.1f GB\n",
           qp_device_in_words(&facts).text, facts.compute_capability / 10, facts.compute_capability % 10,
           facts.multiprocessors, (double)facts.memory_bytes / 1e9);
    qp_device_close(device);
    return QP_OK;
}

static void print_model(const char *path, const qp_model *model)
{
    const qp_config *c = &model->config;
    int64_t bytes = 0;
    for (int64_t i = 0; i < qp_checkpoint_count(model->checkpoint); i++)
        bytes += qp_checkpoint_at(model->checkpoint, i)->bytes;
    printf("model      %s\n", path);
    printf("           %lld layers, hidden size %lld, MLP %lld, %lld query and %lld key/value heads of %lld channels\n",
           (long long)c->num_hidden_layers, (long long)c->hidden_size, (long long)c->intermediate_size,
           (long long)c->num_attention_heads, (long long)c->num_key_value_heads, (long long)c->head_dim);
    printf("           vocabulary %lld, %s embeddings, %lld positions, rope theta %g, eps %g\n",
           (long long)c->vocab_size, c->tie_word_embeddings ? "tied" : "untied", (long long)c->max_position_embeddings,
           c->rope_theta, (double)c->rms_norm_eps);
    printf("           %lld tensors, %.1f MB in %s\n", (long long)qp_checkpoint_count(model->checkpoint),
           (double)bytes / 1e6, c->dtype);
}

/* At most 80 characters of the first line; a golden's text must not steer the terminal. */
static void print_value(const char *value)
{
    const int shown = (int)strcspn(value, "\n");
    for (int i = 0; i < shown && i < 80; i++)
        putchar((unsigned char)value[i] < ' ' || value[i] == 0x7f ? '?' : value[i]);
    printf("%s\n", strlen(value) > 80 ? "..." : "");
}

/* Long values, such as the model's config, are cut: h5dump shows them whole. */
static void print_golden(const char *path, const qp_golden *golden)
{
    printf("golden     %s\n", path);
    for (int i = 0; i < qp_golden_attribute_count(golden); i++) {
        const char *name = qp_golden_attribute_name(golden, i), *value = qp_golden_attribute(golden, name);
        printf("           %-22s ", name);
        print_value(value);
    }
    for (int i = 0; i < qp_golden_phase_count(golden); i++) {
        const qp_golden_phase *phase = qp_golden_phase_at(golden, i);
        printf("           %-24s %4lld tokens after %4lld, %d tensors\n", phase->path, (long long)phase->tokens,
               (long long)phase->past, phase->boundary_count);
    }
}

static qp_status run(int *exit_code)
{
    char embedded_model[PATH_MAX], embedded_golden[PATH_MAX];
    qp_model model = { 0 };
    qp_golden *golden = NULL;
    *exit_code = QP_EXIT_OK;
    if (!model_path && !golden_path) {
        QP_TRY(qp_default_path(&model_path, "qwen3-tiny", embedded_model));
        QP_TRY(qp_default_path(&golden_path, "qwen3-tiny.h5", embedded_golden));
    }
    qp_status status = model_path ? qp_model_open(model_path, &model) : QP_OK;
    if (status == QP_OK && golden_path) status = qp_golden_open(golden_path, &golden);
    if (status == QP_OK) {
        const qp_environment environment = qp_environment_read();
        printf("program    qwen3-parity %s, %s\n", environment.program_version, environment.compiler);
        printf("machine    %s, %s\n", environment.cpu, environment.os);
        status = print_backends();
    }
    if (status == QP_OK) {
        if (model_path) print_model(model_path, &model);
        if (golden) print_golden(golden_path, golden);
    }
    qp_golden_close(golden);
    qp_model_close(&model);
    return status;
}

const qp_command qp_command_info = { "info", "the program, the machine, a model and a golden", "", options, run };
