/*
 * show: the agent's JSON as tables for people.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* True when the agent and all its pods are well. */
bool show_status(const json_t *root, FILE *out);
void show_connections(const json_t *root, FILE *out);
void show_recent(const json_t *root, FILE *out);
void show_config(const json_t *root, FILE *out);
/* Every certificate of each identity, as istioctl lists them. */
void show_certificates(const json_t *root, FILE *out);
