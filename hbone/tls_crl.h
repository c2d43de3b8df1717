/*
 * tls_crl: what tls_peer asks of the revocation lists. Private to the tls files.
 */
#pragma once

#include <openssl/x509.h>

#include <hbone/tls.h>

/*
 * Whether a certificate of @chain is revoked: a verified chain, leaf first and its root last. @crls
 * may be NULL. Any thread. A signature is checked only for a certificate that is listed, so that
 * the lists cost nothing to those that are not.
 */
bool hb_tls_crls_revoke(const struct hb_tls_crls *crls, const STACK_OF(X509) * chain);
