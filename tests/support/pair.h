/*
 * pair: two streams in memory, each the other's peer, under the same contract as tcp; and the
 * hand that holds the wire between them.
 *
 * What is written to one end is told to the other from a task of the loop, so a test needs no
 * socket and no time. A control takes the end that receives: split, stall and cut act on the bytes
 * on their way to it. Ends freely mix with others of the loop; each is freed by hb_stream_free().
 */
#pragma once

#include <hbone/loop.h>
#include <hbone/stream.h>

/* Both ends are open and paused. */
void pair_new(struct hb_loop *loop, struct hb_stream *ret_ends[2]);

/* on_data tells at most @bytes_max at a time, each chain a single buf; 0: as it was written. */
void pair_split(struct hb_stream *to, uint32_t bytes_max);
/* Nothing reaches @to, not even a finish, until it is told false; a reset does. */
void pair_stall(struct hb_stream *to, bool stalled);
/* As pair_stall(true), as soon as @to was told @at bytes in all. */
void pair_stall_at(struct hb_stream *to, uint64_t at);
/* A reset in both directions as soon as @to was told @at bytes in all; what follows is lost. */
void pair_cut(struct hb_stream *to, uint64_t at);
/* Full above @high, drained below @low: for bytes written to the other end and not yet told to
 * @to. HB_TCP_HIGH and HB_TCP_LOW unless said. */
void pair_marks(struct hb_stream *to, size_t high, size_t low);
/* How long a clean close of @s waits without progress; HB_TCP_LINGER_MS unless said. */
void pair_linger(struct hb_stream *s, uint32_t linger_ms);
/* @on_bytes sees what @to is told, before @to does. @owner is its own. */
void pair_tap(struct hb_stream *to, void (*on_bytes)(void *owner, const uint8_t *bytes, size_t len),
              void *owner);
/* Bytes on their way to @to. */
size_t pair_in_transit(const struct hb_stream *to);
