
/* Like model_run, but what the probabilities are the softmax of, in units of 1/65536: whole-number arithmetic
   only, so the same bits on every machine. */
void model_logits(const uint8_t *rgb, int32_t *logits);
