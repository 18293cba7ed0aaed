/* Batch normalization in C that speaks the protocol of docs/wire-protocol.md: float32, channels last, ranks 2 to 5.

   cc -O2 -o batchnorm batchnorm.c -lm && bn-conformance run cmd:./batchnorm */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GAMMA, BETA, MEAN, VARIANCE, X, DY, Y, DX, DGAMMA, DBETA, ARRAYS };
static const char *NAMES[] = {"gamma", "beta", "moving_mean", "moving_variance", "x", "dy", "y", "dx", "dgamma", "dbeta"};

typedef struct {
    int rank, size, shape[8];
    float *data; /* NULL where there is no such array */
} Array;

typedef struct {
    int id, channels;
    double epsilon, decay;
    Array state[4];
} Layer;

static Layer layers[4096];

static Array new_array(int rank, const int *shape) {
    Array a = {rank, 1, {0}, NULL};
    for (int i = 0; i < rank; i++) a.size *= a.shape[i] = shape[i];
    a.data = calloc(a.size ? a.size : 1, sizeof(float));
    return a;
}

static void move(Array *to, Array *from) {
    if (!from->data) return;
    free(to->data);
    *to = *from;
    from->data = NULL;
}

static void put(int which, const Array *a) {
    if (!a->data) return;
    printf("array %s float32", NAMES[which]);
    for (int i = 0; i < a->rank; i++) printf(" %d", a->shape[i]);
    printf("\n");
    fwrite(a->data, sizeof(float), a->size, stdout);
}

/* Read what follows a request until "end": numbers into the layer, arrays into their places. */
static void read_body(Layer *layer, Array *arrays) {
    char line[4096];
    while (fgets(line, sizeof line, stdin) && strcmp(line, "end\n")) {
        char name[32];
        int shape[8], rank, which;
        sscanf(line, "channels %d", &layer->channels);
        sscanf(line, "epsilon %lf", &layer->epsilon);
        sscanf(line, "decay %lf", &layer->decay);
        if (strncmp(line, "array ", 6)) continue;
        rank = sscanf(line, "array %31s float32 %d %d %d %d %d", name, shape, shape + 1, shape + 2, shape + 3, shape + 4) - 1;
        Array a = new_array(rank, shape);
        if (fread(a.data, sizeof(float), a.size, stdin) != (size_t)a.size) exit(1);
        for (which = 0; which < ARRAYS && strcmp(name, NAMES[which]); which++) {}
        if (which < ARRAYS) move(&arrays[which], &a);
        free(a.data);
    }
}

static float value(const Array *a, int c, float otherwise) { return a->data ? a->data[c] : otherwise; }

/* One channel: statistics in two passes, the output, and the gradients where dy is given. */
static void normalize(Layer *layer, Array *arrays, int c, int training) {
    int channels = layer->channels, m = arrays[X].size / channels;
    const float *x = arrays[X].data + c, *dy = arrays[DY].data ? arrays[DY].data + c : NULL;
    double mean = 0, variance = 0, dgamma = 0, dbeta = 0;
    float gamma = value(&layer->state[GAMMA], c, 1), beta = value(&layer->state[BETA], c, 0);
    if (training) {
        for (int i = 0; i < m; i++) mean += x[i * channels];
        mean /= m;
        for (int i = 0; i < m; i++) variance += (x[i * channels] - mean) * (x[i * channels] - mean);
        variance /= m;
        float *moving_mean = layer->state[MEAN].data + c, *moving_variance = layer->state[VARIANCE].data + c;
        *moving_mean = (float)(layer->decay * *moving_mean + (1 - layer->decay) * mean);
        *moving_variance = (float)(layer->decay * *moving_variance + (1 - layer->decay) * variance);
    } else {
        mean = layer->state[MEAN].data[c];
        variance = layer->state[VARIANCE].data[c];
    }
    double r = 1 / sqrt(variance + layer->epsilon);
    for (int i = 0; i < m; i++) arrays[Y].data[i * channels + c] = (float)(gamma * ((x[i * channels] - mean) * r) + beta);
    if (!dy) return;
    for (int i = 0; i < m; i++) {
        dbeta += dy[i * channels];
        dgamma += dy[i * channels] * ((x[i * channels] - mean) * r);
    }
    for (int i = 0; i < m; i++) {
        double d = dy[i * channels];
        if (training) d -= dbeta / m + (x[i * channels] - mean) * r * dgamma / m;
        arrays[DX].data[i * channels + c] = (float)(gamma * r * d);
    }
    if (layer->state[GAMMA].data) arrays[DGAMMA].data[c] = (float)dgamma;
    if (layer->state[BETA].data) arrays[DBETA].data[c] = (float)dbeta;
}

static void step(Layer *layer, Array *arrays, int training) {
    arrays[Y] = new_array(arrays[X].rank, arrays[X].shape);
    if (arrays[DY].data) {
        arrays[DX] = new_array(arrays[X].rank, arrays[X].shape);
        if (layer->state[GAMMA].data) arrays[DGAMMA] = new_array(1, &layer->channels);
        if (layer->state[BETA].data) arrays[DBETA] = new_array(1, &layer->channels);
    }
    for (int c = 0; c < layer->channels; c++) normalize(layer, arrays, c, training);
    printf("ok\n");
    for (int which = Y; which < ARRAYS; which++) put(which, &arrays[which]);
}

int main(void) {
    char line[4096], request[32];
    while (fgets(line, sizeof line, stdin)) {
        int id = 0;
        Array arrays[ARRAYS] = {{0}};
        if (sscanf(line, "%31s %d", request, &id) < 1) continue;
        Layer *layer = &layers[id % 4096];
        read_body(layer, arrays);
        if (!strcmp(request, "hello")) {
            printf("ok\nname batchnorm.c\nversion 1.0\nranks 2 3 4 5\naxes last\ndtypes float32\n");
            printf("moving_variance biased\nvariance_grade A\naffine_grade S\n");
        } else if (!strcmp(request, "build") || !strcmp(request, "set")) {
            if (!strcmp(request, "build")) memset(layer->state, 0, sizeof layer->state);
            for (int which = GAMMA; which <= VARIANCE; which++) move(&layer->state[which], &arrays[which]);
            printf("ok\n");
        } else if (!strcmp(request, "train") || !strcmp(request, "infer")) {
            step(layer, arrays, !strcmp(request, "train"));
        } else if (!strcmp(request, "state")) {
            printf("ok\n");
            for (int which = GAMMA; which <= VARIANCE; which++) put(which, &layer->state[which]);
        } else if (!strcmp(request, "free")) {
            for (int which = GAMMA; which <= VARIANCE; which++) {
                free(layer->state[which].data);
                layer->state[which].data = NULL;
            }
            printf("ok\n");
        } else {
            printf("error there is no request %s\n", request);
        }
        printf("end\n");
        fflush(stdout);
        for (int which = 0; which < ARRAYS; which++) free(arrays[which].data);
    }
    return 0;
}
