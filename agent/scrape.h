/*
 * scrape: GET /metrics: what the workers have counted, and the process itself.
 */
#pragma once

struct admin_request;

void scrape_handle(struct admin_request *request, void *owner); /* owner: the agent */
