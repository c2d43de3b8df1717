/*
 * ca_codec: protobuf-c's structs onto ours.
 */
#include "control/ca_codec.h"

#include <errno.h>
#include <stdlib.h>

#include "citadel.pb-c.h"

#define IMPERSONATED "ImpersonatedIdentity" /* the key that istiod looks for */

int ca_encode_request(const char *csr_pem, int64_t validity_s, const char *impersonate,
                      uint8_t **ret_bytes, size_t *ret_size)
{
	Istio__V1__Auth__IstioCertificateRequest request =
	    ISTIO__V1__AUTH__ISTIO_CERTIFICATE_REQUEST__INIT;
	Istio__V1__Auth__Struct metadata = ISTIO__V1__AUTH__STRUCT__INIT;
	Istio__V1__Auth__Struct__FieldsEntry field = ISTIO__V1__AUTH__STRUCT__FIELDS_ENTRY__INIT;
	Istio__V1__Auth__Struct__FieldsEntry *fields[] = { &field };
	Istio__V1__Auth__Value value = ISTIO__V1__AUTH__VALUE__INIT;
	uint8_t *bytes;
	size_t size;

	/* What is only read here is not const in protobuf-c's structs. */
	request.csr = (char *)(uintptr_t)csr_pem;
	request.validity_duration = validity_s;
	if (impersonate) {
		value.kind_case = ISTIO__V1__AUTH__VALUE__KIND_STRING_VALUE;
		value.string_value = (char *)(uintptr_t)impersonate;
		field.key = (char *)(uintptr_t)IMPERSONATED;
		field.value = &value;
		metadata.n_fields = 1;
		metadata.fields = fields;
		request.metadata = &metadata;
	}
	size = istio__v1__auth__istio_certificate_request__get_packed_size(&request);
	bytes = malloc(size + 1);
	if (!bytes)
		return -ENOMEM;
	*ret_size = istio__v1__auth__istio_certificate_request__pack(&request, bytes);
	*ret_bytes = bytes;
	return 0;
}

int ca_decode_response(const uint8_t *bytes, size_t size, struct ca_response *ret_response)
{
	Istio__V1__Auth__IstioCertificateResponse *message;

	if (size > CA_RESPONSE_MAX)
		return -E2BIG;
	message = istio__v1__auth__istio_certificate_response__unpack(NULL, size, bytes);
	if (!message)
		return -EBADMSG;
	if (message->n_cert_chain > CA_ELEMENTS_MAX) {
		istio__v1__auth__istio_certificate_response__free_unpacked(message, NULL);
		return -E2BIG;
	}
	*ret_response = (struct ca_response){
		.elements = (const char *const *)message->cert_chain,
		.count = message->n_cert_chain,
		.message = message,
	};
	return 0;
}

void ca_response_done(struct ca_response *response)
{
	if (response->message)
		istio__v1__auth__istio_certificate_response__free_unpacked(response->message, NULL);
	*response = (struct ca_response){ 0 };
}
