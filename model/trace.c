#include "trace.h"

#ifdef QP_WITH_NVTX

#include <nvtx3/nvToolsExtPayload.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "text_hash.h"

typedef struct range_payload {
    int64_t layer, position;
    uint64_t bytes;
} range_payload;

typedef struct registered_name {
    char *text; /* NULL: the place is free */
    nvtxStringHandle_t handle;
} registered_name;

static struct {
    bool started;
    nvtxDomainHandle_t domain; /* NULL: nobody listens */
    uint64_t schema;           /* of range_payload; 0: the tool knows no schemas */
    registered_name *names;    /* open addressing; `room` is a power of two */
    size_t room, count;
} trace;

static uint64_t register_schema(void)
{
    static const nvtxPayloadSchemaEntry_t entries[] = {
        { .type = NVTX_PAYLOAD_ENTRY_TYPE_INT64,
          .name = "layer",
          .description = "-1 outside the layers",
          .offset = offsetof(range_payload, layer) },
        { .type = NVTX_PAYLOAD_ENTRY_TYPE_INT64,
          .name = "position",
          .description = "of the first token of the pass",
          .offset = offsetof(range_payload, position) },
        { .type = NVTX_PAYLOAD_ENTRY_TYPE_UINT64,
          .name = "bytes",
          .description = "each operand read or written once",
          .offset = offsetof(range_payload, bytes) },
    };
    const nvtxPayloadSchemaAttr_t schema = {
        .fieldMask = NVTX_PAYLOAD_SCHEMA_ATTR_FIELD_NAME | NVTX_PAYLOAD_SCHEMA_ATTR_FIELD_TYPE |
                     NVTX_PAYLOAD_SCHEMA_ATTR_FIELD_ENTRIES | NVTX_PAYLOAD_SCHEMA_ATTR_FIELD_NUM_ENTRIES |
                     NVTX_PAYLOAD_SCHEMA_ATTR_FIELD_STATIC_SIZE,
        .name = "range",
        .type = NVTX_PAYLOAD_SCHEMA_TYPE_STATIC,
        .entries = entries,
        .numEntries = sizeof entries / sizeof *entries,
        .payloadStaticSize = sizeof(range_payload),
    };
    return nvtxPayloadSchemaRegister(trace.domain, &schema);
}

static void start(void)
{
    static const struct {
        qp_trace_category category;
        const char *name;
    } categories[] = { { QP_TRACE_MODEL, "model" },
                       { QP_TRACE_KERNEL, "kernel" },
                       { QP_TRACE_VERIFY, "verify" },
                       { QP_TRACE_IO, "io" },
                       { QP_TRACE_BENCH, "bench" } };
    trace.started = true;
    trace.domain = nvtxDomainCreateA("qwen3-parity"); /* never destroyed: a tool may be gone when the program ends */
    if (!trace.domain) return;
    for (size_t i = 0; i < sizeof categories / sizeof *categories; i++)
        nvtxDomainNameCategoryA(trace.domain, (uint32_t)categories[i].category, categories[i].name);
    trace.schema = register_schema();
}

/* Where `text` is, or the free place where it belongs. By text and not by pointer: a plan's names go with the plan, and
 * the next plan's may lie at the same addresses. */
static registered_name *find(registered_name *names, size_t room, const char *text)
{
    size_t i = (size_t)qp_text_hash(text) & (room - 1);
    while (names[i].text && strcmp(names[i].text, text) != 0) i = (i + 1) & (room - 1);
    return &names[i];
}

static bool grow(void)
{
    const size_t room = trace.room ? 2 * trace.room : 1024;
    registered_name *names = calloc(room, sizeof *names);
    if (!names) return false;
    for (size_t i = 0; i < trace.room; i++)
        if (trace.names[i].text) *find(names, room, trace.names[i].text) = trace.names[i];
    free(trace.names);
    trace.names = names;
    trace.room = room;
    return true;
}

/* NULL if there is no memory; the range then carries its name as text. */
static nvtxStringHandle_t handle_of(const char *text)
{
    if (4 * (trace.count + 1) > 3 * trace.room && !grow()) return NULL;
    registered_name *place = find(trace.names, trace.room, text);
    if (!place->text) {
        place->text = strdup(text);
        if (!place->text) return NULL;
        place->handle = nvtxDomainRegisterStringA(trace.domain, text);
        trace.count++;
    }
    return place->handle;
}

bool qp_trace_is_on(void)
{
    if (!trace.started) start();
    return trace.domain != NULL;
}

void qp_trace_push(qp_trace_category category, const char *name, int64_t layer, int64_t position, uint64_t bytes)
{
    if (!qp_trace_is_on()) return;
    const range_payload payload = { layer, position, bytes };
    const nvtxPayloadData_t data = { trace.schema, sizeof payload, &payload };
    nvtxEventAttributes_t event = { .version = NVTX_VERSION,
                                    .size = NVTX_EVENT_ATTRIB_STRUCT_SIZE,
                                    .category = (uint32_t)category };
    if (trace.schema) { /* by hand: the header's macro for this lacks a parenthesis in C */
        event.payloadType = NVTX_PAYLOAD_TYPE_EXT;
        event.payload.ullValue = (uint64_t)(uintptr_t)&data;
        event.reserved0 = 1; /* payloads */
    } else {
        event.payloadType = NVTX_PAYLOAD_TYPE_UNSIGNED_INT64;
        event.payload.ullValue = bytes;
    }
    const nvtxStringHandle_t handle = handle_of(name);
    if (handle) {
        event.messageType = NVTX_MESSAGE_TYPE_REGISTERED;
        event.message.registered = handle;
    } else {
        event.messageType = NVTX_MESSAGE_TYPE_ASCII;
        event.message.ascii = name;
    }
    nvtxDomainRangePushEx(trace.domain, &event);
}

void qp_trace_pop(void)
{
    if (qp_trace_is_on()) nvtxDomainRangePop(trace.domain);
}

#else

bool qp_trace_is_on(void) { return false; }

void qp_trace_push(qp_trace_category category, const char *name, int64_t layer, int64_t position, uint64_t bytes)
{
    (void)category;
    (void)name;
    (void)layer;
    (void)position;
    (void)bytes;
}

void qp_trace_pop(void) {}

#endif
