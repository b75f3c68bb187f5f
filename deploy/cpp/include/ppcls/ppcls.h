/* The C interface: open a bundle, predict, read the last error. Nothing is thrown across it. */
#pragma once

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/** An open predictor. One thread at a time may use it. */
typedef struct ppcls_predictor ppcls_predictor;

/** One class of an answer. */
typedef struct {
  int class_id;
  double score;
  /** Belongs to the predictor. */
  const char* label_name;
} ppcls_class;

/**
 * Open an exported folder.
 *
 * folder: the bundle.
 * backend: its name, or NULL for the first that can run the bundle.
 * threads: CPU threads of one inference; 0 is one per core.
 *
 * Returns NULL on failure; ppcls_last_error() tells why.
 */
ppcls_predictor* ppcls_open(const char* folder, const char* backend, int threads);

/** Close a predictor; NULL is allowed. */
void ppcls_close(ppcls_predictor* predictor);

/**
 * Predict the classes of an image file.
 *
 * classes: room for `room` classes, best first.
 *
 * Returns the number of classes written, or -1 on failure; ppcls_last_error() tells why.
 */
int ppcls_predict(ppcls_predictor* predictor, const char* path, ppcls_class* classes, int room);

/** As ppcls_predict, for an encoded image in memory. */
int ppcls_predict_bytes(ppcls_predictor* predictor, const void* data, size_t size,
                        ppcls_class* classes, int room);

/** Return the last error of this thread; empty if there was none. Valid until its next call. */
const char* ppcls_last_error(void);

#ifdef __cplusplus
}
#endif
