/* A tool for NVTX that writes down what it is told. NVTX loads it if NVTX_INJECTION64_PATH names it. It writes to the
 * file that QP_NVTX_LOG names, a line an event; a name is always last:
 *
 *   domain NAME
 *   destroy DOMAIN
 *   category DOMAIN NUMBER NAME
 *   string DOMAIN NAME                     a string is registered
 *   schema DOMAIN FIELD:TYPE,... NAME      a payload's schema is registered
 *   push DOMAIN DEPTH CATEGORY registered|text FIELD=VALUE,... NAME
 *   pop DOMAIN DEPTH
 *
 * With QP_NVTX_PLAIN set it is a tool that knows no payload schemas, as older ones. */
#define NVTX_NO_IMPL /* the types alone: a tool calls nothing of NVTX */
#include <nvtx3/nvToolsExtPayload.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* NVTX hands these back to us and knows nothing of what is in them. */
struct nvtxDomainRegistration_st {
    int depth;
    char name[64];
};

struct nvtxStringRegistration_st {
    char text[256];
};

enum { MAX_SCHEMAS = 8, MAX_FIELDS = 8 };

typedef struct schema {
    struct field {
        uint64_t type, offset;
        char name[32];
    } fields[MAX_FIELDS];
    size_t count;
} schema;

static FILE *output;
static schema schemas[MAX_SCHEMAS];
static size_t schema_count;

static void *allocate(size_t bytes)
{
    void *memory = calloc(1, bytes);
    if (!memory) abort();
    return memory;
}

static const char *name_of(nvtxDomainHandle_t domain) { return domain ? domain->name : "(global)"; }

static nvtxDomainHandle_t NVTX_API domain_create(const char *name)
{
    nvtxDomainHandle_t domain = allocate(sizeof *domain);
    (void)snprintf(domain->name, sizeof domain->name, "%s", name);
    (void)fprintf(output, "domain %s\n", name);
    return domain;
}

static void NVTX_API domain_destroy(nvtxDomainHandle_t domain)
{
    (void)fprintf(output, "destroy %s\n", name_of(domain));
    free(domain);
}

static void NVTX_API name_category(nvtxDomainHandle_t domain, uint32_t category, const char *name)
{
    (void)fprintf(output, "category %s %" PRIu32 " %s\n", name_of(domain), category, name);
}

static nvtxStringHandle_t NVTX_API register_string(nvtxDomainHandle_t domain, const char *text)
{
    nvtxStringHandle_t string = allocate(sizeof *string);
    (void)snprintf(string->text, sizeof string->text, "%s", text);
    (void)fprintf(output, "string %s %s\n", name_of(domain), text);
    return string;
}

static const char *type_name(uint64_t type)
{
    return type == NVTX_PAYLOAD_ENTRY_TYPE_INT64 ? "int64" : type == NVTX_PAYLOAD_ENTRY_TYPE_UINT64 ? "uint64" : "?";
}

static uint64_t NVTX_API schema_register(nvtxDomainHandle_t domain, const nvtxPayloadSchemaAttr_t *attributes)
{
    if (schema_count == MAX_SCHEMAS || attributes->numEntries > MAX_FIELDS) return 0;
    schema *s = &schemas[schema_count++];
    (void)fprintf(output, "schema %s ", name_of(domain));
    for (size_t i = 0; i < attributes->numEntries; i++) {
        const nvtxPayloadSchemaEntry_t *entry = &attributes->entries[i];
        struct field *field = &s->fields[s->count++];
        field->type = entry->type;
        field->offset = entry->offset;
        (void)snprintf(field->name, sizeof field->name, "%s", entry->name);
        (void)fprintf(output, "%s%s:%s", i ? "," : "", entry->name, type_name(entry->type));
    }
    (void)fprintf(output, " %s\n", attributes->name);
    return NVTX_PAYLOAD_SCHEMA_ID_DYNAMIC_START + schema_count;
}

static void write_structured(const nvtxPayloadData_t *data)
{
    const uint64_t number = data->schemaId - NVTX_PAYLOAD_SCHEMA_ID_DYNAMIC_START;
    if (number < 1 || number > schema_count) {
        (void)fputs("unknown-schema", output);
        return;
    }
    const schema *s = &schemas[number - 1];
    for (size_t i = 0; i < s->count; i++) {
        const struct field *field = &s->fields[i];
        uint64_t bits = 0;
        if (field->offset + sizeof bits > data->size) {
            (void)fprintf(output, "%s%s=outside", i ? "," : "", field->name);
            continue;
        }
        memcpy(&bits, (const char *)data->payload + field->offset, sizeof bits);
        if (field->type == NVTX_PAYLOAD_ENTRY_TYPE_INT64)
            (void)fprintf(output, "%s%s=%" PRId64, i ? "," : "", field->name, (int64_t)bits);
        else
            (void)fprintf(output, "%s%s=%" PRIu64, i ? "," : "", field->name, bits);
    }
}

static int NVTX_API range_push(nvtxDomainHandle_t domain, const nvtxEventAttributes_t *event)
{
    const int depth = domain ? domain->depth++ : 0;
    const bool registered = event->messageType == NVTX_MESSAGE_TYPE_REGISTERED;
    (void)fprintf(output, "push %s %d %" PRIu32 " %s ", name_of(domain), depth, event->category,
                  registered ? "registered" : "text");
    if (event->payloadType == NVTX_PAYLOAD_TYPE_EXT && event->reserved0 == 1)
        write_structured((const nvtxPayloadData_t *)(uintptr_t)event->payload.ullValue);
    else if (event->payloadType == NVTX_PAYLOAD_TYPE_UNSIGNED_INT64)
        (void)fprintf(output, "uint64=%" PRIu64, event->payload.ullValue);
    else
        (void)fputs("none", output);
    (void)fprintf(output, " %s\n", registered ? event->message.registered->text : event->message.ascii);
    return depth;
}

static int NVTX_API range_pop(nvtxDomainHandle_t domain)
{
    const int depth = domain ? --domain->depth : 0;
    (void)fprintf(output, "pop %s %d\n", name_of(domain), depth);
    return depth;
}

/* The two functions that NVTX looks up. 1: we listen; 0: we do not. */
NVTX_DYNAMIC_EXPORT int InitializeInjectionNvtx2(NvtxGetExportTableFunc_t get_table);
NVTX_DYNAMIC_EXPORT int InitializeInjectionNvtxExtension(nvtxExtModuleInfo_t *module);

int InitializeInjectionNvtx2(NvtxGetExportTableFunc_t get_table)
{
    const char *path = getenv("QP_NVTX_LOG");
    const NvtxExportTableCallbacks *callbacks = get_table(NVTX_ETID_CALLBACKS);
    NvtxFunctionTable table = NULL;
    unsigned int size = 0;
    if (!path || !callbacks || !callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE2, &table, &size)) return 0;
    if (size <= NVTX_CBID_CORE2_DomainDestroy) return 0;
    if (!output) output = fopen(path, "w"); /* each library with NVTX in it comes here once */
    if (!output) return 0;
    (void)setvbuf(output, NULL, _IOLBF, 0); /* whole lines, also from a program that dies */
    *table[NVTX_CBID_CORE2_DomainCreateA] = (NvtxFunctionPointer)domain_create;
    *table[NVTX_CBID_CORE2_DomainDestroy] = (NvtxFunctionPointer)domain_destroy;
    *table[NVTX_CBID_CORE2_DomainNameCategoryA] = (NvtxFunctionPointer)name_category;
    *table[NVTX_CBID_CORE2_DomainRegisterStringA] = (NvtxFunctionPointer)register_string;
    *table[NVTX_CBID_CORE2_DomainRangePushEx] = (NvtxFunctionPointer)range_push;
    *table[NVTX_CBID_CORE2_DomainRangePop] = (NvtxFunctionPointer)range_pop;
    return 1;
}

int InitializeInjectionNvtxExtension(nvtxExtModuleInfo_t *module)
{
    if (!output || getenv("QP_NVTX_PLAIN") || module->moduleId != NVTX_EXT_PAYLOAD_MODULEID) return 0;
    module->segments[0].functionSlots[NVTX3EXT_CBID_nvtxPayloadSchemaRegister] = (intptr_t)schema_register;
    return 1;
}
