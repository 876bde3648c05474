//@ classes_use
 *     float probabilities[MODEL_CLASSES];
 *     int best = 0;
 *     model_predict(pixels, width, height, probabilities);
 *     for (int i = 1; i < MODEL_CLASSES; i++)
 *         if (probabilities[i] > probabilities[best]) best = i;
 *     printf("%s %.1f%%\n", model_labels[best], 100 * probabilities[best]);
//@ classes_macros
/* An answer whose greatest probability is below this is likely for a picture of none of the classes. */
#define MODEL_UNKNOWN_BELOW {{UNKNOWN_BELOW}}
//@ classes_functions
/* The probability of each class for a picture of MODEL_WIDTH x MODEL_HEIGHT pixels:
   rows from the top, each pixel {{PIXEL}}, 0 to 255. */
void model_run(const uint8_t *rgb, float *probabilities);

/* The same for a picture of any size from 1 x 1 up to 65535 a side and 134 million pixels: it is resized as the
   pictures were that the network learned from, straight into the working memory. */
void model_predict(const uint8_t *rgb, int width, int height, float *probabilities);
//@ classes_logits

/* Like model_run, but what the probabilities are the softmax of, in units of 1/65536: whole-number arithmetic
   only, so the same bits on every machine. */
void model_logits(const uint8_t *rgb, int32_t *logits);
//@ boxes_use
 *     model_object objects[MODEL_MOST_OBJECTS];
 *     int count = model_detect(pixels, width, height, MODEL_AT_LEAST, objects, MODEL_MOST_OBJECTS);
 *     for (int i = 0; i < count; i++)
 *         printf("%s %.1f%% from %.0f, %.0f to %.0f, %.0f\n", model_labels[objects[i].label], 100 * objects[i].score,
 *                objects[i].left * width, objects[i].top * height, objects[i].right * width, objects[i].bottom * height);
//@ boxes_macros
/* The score from which on to say that an object is there. */
#define MODEL_AT_LEAST {{AT_LEAST}}
/* Objects in one picture at most. */
#define MODEL_MOST_OBJECTS {{MOST}}
/* Places of the map that objects are read from, and numbers of each. */
#define MODEL_MAP_HEIGHT {{MAP_HEIGHT}}
#define MODEL_MAP_WIDTH {{MAP_WIDTH}}
#define MODEL_MAP_CHANNELS (MODEL_CLASSES + 4)
//@ boxes_functions
/* What the network says is in a picture. */
typedef struct {
    int label;   /* its place in model_labels */
    float score; /* how sure the network is, 0 to 1 */
    /* Its box, in shares of the picture's width and height, 0 to 1 from the left and the top. */
    float left, top, right, bottom;
} model_object;

/* Finds the objects in a picture whose score is at_least or more, the surest first: at most `most`, and at most
   MODEL_MOST_OBJECTS. Returns how many. The picture has rows from the top, each pixel {{PIXEL}}, 0 to 255;
   any size from 1 x 1 up to 65535 a side and 134 million pixels: it is resized as the pictures were that the
   network learned from, straight into the working memory. */
int model_detect(const uint8_t *rgb, int width, int height, float at_least, model_object *objects, int most);

/* The map itself, for a picture of MODEL_WIDTH x MODEL_HEIGHT pixels: MODEL_MAP_HEIGHT rows of MODEL_MAP_WIDTH places
   of MODEL_MAP_CHANNELS numbers, a logit a class, then the logarithms of how many places the box reaches to the left,
   top, right and bottom from the middle of the place. */
void model_run(const uint8_t *rgb, float *map);
//@ boxes_logits

/* Like model_run, in units of 1/65536: whole-number arithmetic only, so the same bits on every machine. */
void model_logits(const uint8_t *rgb, int32_t *map);
