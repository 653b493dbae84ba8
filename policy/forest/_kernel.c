/* Boosted trees for one decision point: a dictionary to a row, a row to a margin.
 *
 * Nodes of all trees lie in one array, children side by side, so that a step is
 *
 *     node = left[node] + !goes_left(row[feature[node]])
 *
 * without a branch. A leaf is its own left child and sends every value left: all trees of a block
 * are walked to the depth of the deepest, and their loads overlap. Leaves are added in the order
 * of the trees, in float32, as XGBoost adds them: the margin is the same to the bit.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define BLOCK 8
#define DEFAULT_LEFT 0x80000000u
#define CATEGORICAL 0x40000000u
#define FEATURE 0x3fffffffu

/* Values that round to an infinite float32 are not features. */
#define BEYOND_FLOAT32 (0x1p128 - 0x1p103)

typedef struct {
    float split;    /* values below go left; of a categorical node its words in `sets` */
    int32_t left;   /* the right child is the one after it */
    uint32_t about; /* flags and feature */
    float leaf;
} Node;

typedef struct {
    PyObject_HEAD
    Node *nodes;
    uint32_t *sets; /* of a categorical node: number of words, then bits of what goes right */
    int32_t *roots;
    int32_t *depths; /* of each block of trees */
    Py_ssize_t n_trees, n_features;
    float base;
} Forest;

static void Forest_dealloc(Forest *self) {
    PyMem_Free(self->nodes);
    PyMem_Free(self->sets);
    PyMem_Free(self->roots);
    PyMem_Free(self->depths);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static void *copied(const Py_buffer *view) {
    void *copy = PyMem_Malloc(view->len ? (size_t)view->len : 1);
    if (copy != NULL) {
        memcpy(copy, view->buf, (size_t)view->len);
    }
    return copy;
}

static int Forest_init(Forest *self, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
    Py_buffer nodes, sets, roots, depths;
    Py_ssize_t n_features;
    float base;
    if (!PyArg_ParseTuple(args, "y*y*y*y*nf", &nodes, &sets, &roots, &depths, &n_features, &base)) {
        return -1;
    }
    self->nodes = copied(&nodes);
    self->sets = copied(&sets);
    self->roots = copied(&roots);
    self->depths = copied(&depths);
    self->n_trees = roots.len / (Py_ssize_t)sizeof(int32_t);
    self->n_features = n_features;
    self->base = base;
    PyBuffer_Release(&nodes);
    PyBuffer_Release(&sets);
    PyBuffer_Release(&roots);
    PyBuffer_Release(&depths);
    if (!self->nodes || !self->sets || !self->roots || !self->depths) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

/* Categories that are in the set go right; those that no set knows go left. */
static inline int category_goes_left(const uint32_t *set, float value) {
    if (value < 0.0f || value >= 16777216.0f) {
        return 1;
    }
    uint32_t category = (uint32_t)value;
    uint32_t word = category >> 5;
    return word >= set[0] || !((set[1 + word] >> (31 - (category & 31u))) & 1u);
}

static inline int32_t step(const Forest *self, int32_t at, const float *row) {
    const Node *node = self->nodes + at;
    float value = row[node->about & FEATURE];
    int left = value < node->split;
    if (__builtin_expect(node->about & CATEGORICAL, 0)) {
        int32_t place;
        memcpy(&place, &node->split, sizeof place);
        left = category_goes_left(self->sets + place, value);
    }
    left = value != value ? (int)(node->about >> 31) : left;
    return node->left + !left;
}

static float margin_of(const Forest *self, const float *row) {
    float sum = self->base;
    for (Py_ssize_t first = 0; first < self->n_trees; first += BLOCK) {
        Py_ssize_t count = self->n_trees - first < BLOCK ? self->n_trees - first : BLOCK;
        int32_t at[BLOCK];
        memcpy(at, self->roots + first, (size_t)count * sizeof(int32_t));
        for (int32_t depth = self->depths[first / BLOCK]; depth > 0; depth--) {
            for (Py_ssize_t k = 0; k < count; k++) {
                at[k] = step(self, at[k], row);
            }
        }
        for (Py_ssize_t k = 0; k < count; k++) {
            sum += self->nodes[at[k]].leaf;
        }
    }
    return sum;
}

PyDoc_STRVAR(margin_doc, "margin(row, last=None) -> float\n\n"
             "Margin of a row of float32; `last` is put in the place of the last feature first.");

static PyObject *Forest_margin(Forest *self, PyObject *const *args, Py_ssize_t count) {
    Py_buffer row;
    if (count < 1 || count > 2) {
        PyErr_SetString(PyExc_TypeError, "margin takes a row and at most one value more");
        return NULL;
    }
    if (PyObject_GetBuffer(args[0], &row, PyBUF_WRITABLE) < 0) {
        return NULL;
    }
    float *values = row.buf;
    if (row.len < self->n_features * (Py_ssize_t)sizeof(float)) {
        PyBuffer_Release(&row);
        PyErr_SetString(PyExc_ValueError, "the row is shorter than the forest's features");
        return NULL;
    }
    if (count == 2) {
        values[self->n_features - 1] = (float)PyFloat_AsDouble(args[1]);
    }
    float margin = PyErr_Occurred() ? 0.0f : margin_of(self, values);
    PyBuffer_Release(&row);
    return PyErr_Occurred() ? NULL : PyFloat_FromDouble((double)margin);
}

static PyMethodDef Forest_methods[] = {
    {"margin", (PyCFunction)(void (*)(void))Forest_margin, METH_FASTCALL, margin_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(forest_doc, "Forest(nodes, sets, roots, depths, n_features, base)\n\n"
             "A boosted forest laid out by `policy.forest.layout`.");

static PyTypeObject ForestType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "policy.forest._kernel.Forest",
    .tp_doc = forest_doc,
    .tp_basicsize = sizeof(Forest),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = PyType_GenericNew,
    .tp_init = (initproc)Forest_init,
    .tp_dealloc = (destructor)Forest_dealloc,
    .tp_methods = Forest_methods,
};

/* Put a value into its place of the row; 0 where only Python can tell what it is. */
static int put(PyObject *value, PyObject *places, float *place) {
    if (value == Py_None) {
        *place = NAN;
        return 1;
    }
    if (places != Py_None) {
        PyObject *code = PyDict_GetItemWithError(places, value);
        if (code == NULL) {
            if (PyErr_Occurred()) {
                PyErr_Clear();
                return 0;
            }
            *place = NAN;
            return 1;
        }
        *place = (float)PyLong_AsLong(code);
        return 1;
    }
    double number;
    if (PyFloat_CheckExact(value)) {
        number = PyFloat_AS_DOUBLE(value);
    } else if (PyLong_CheckExact(value)) {
        number = PyLong_AsDouble(value);
        if (number == -1.0 && PyErr_Occurred()) {
            PyErr_Clear();
            return 0;
        }
    } else {
        return 0;
    }
    if (fabs(number) >= BEYOND_FLOAT32) {
        return 0;
    }
    *place = (float)number;
    return 1;
}

PyDoc_STRVAR(encode_doc, "encode(features, names, places, row) -> int\n\n"
             "Fill a row of float32 from a dictionary; places: for each name a dictionary of\n"
             "categories, or None for a number. Return -1, or the first column that it cannot read.");

static PyObject *encode(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count) {
    Py_buffer row;
    if (count != 4 || !PyDict_Check(args[0]) || !PyTuple_Check(args[1]) ||
        !PyTuple_Check(args[2]) || PyTuple_GET_SIZE(args[1]) != PyTuple_GET_SIZE(args[2])) {
        PyErr_SetString(PyExc_TypeError, "encode takes a dictionary, two tuples alike and a row");
        return NULL;
    }
    if (PyObject_GetBuffer(args[3], &row, PyBUF_WRITABLE) < 0) {
        return NULL;
    }
    Py_ssize_t n = PyTuple_GET_SIZE(args[1]), bad = -1;
    if (row.len < n * (Py_ssize_t)sizeof(float)) {
        PyBuffer_Release(&row);
        PyErr_SetString(PyExc_ValueError, "the row is shorter than the names");
        return NULL;
    }
    float *values = row.buf;
    for (Py_ssize_t k = 0; k < n && bad < 0; k++) {
        PyObject *value = PyDict_GetItemWithError(args[0], PyTuple_GET_ITEM(args[1], k));
        if (value == NULL || !put(value, PyTuple_GET_ITEM(args[2], k), values + k)) {
            bad = k;
        }
    }
    PyBuffer_Release(&row);
    return PyErr_Occurred() ? NULL : PyLong_FromSsize_t(bad);
}

PyDoc_STRVAR(log_odds_doc, "log_odds(probability) -> float\n\n"
             "Log-odds in float32, by the C library's logf as XGBoost has them.");

static PyObject *log_odds(PyObject *Py_UNUSED(module), PyObject *probability) {
    float score = (float)PyFloat_AsDouble(probability);
    return PyErr_Occurred() ? NULL : PyFloat_FromDouble((double)-logf(1.0f / score - 1.0f));
}

static PyMethodDef functions[] = {
    {"log_odds", (PyCFunction)log_odds, METH_O, log_odds_doc},
    {"encode", (PyCFunction)(void (*)(void))encode, METH_FASTCALL, encode_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef kernel = {
    PyModuleDef_HEAD_INIT,
    .m_name = "policy.forest._kernel",
    .m_doc = "Boosted trees for one decision point.",
    .m_size = -1,
    .m_methods = functions,
};

PyMODINIT_FUNC PyInit__kernel(void) {
    if (PyType_Ready(&ForestType) < 0) {
        return NULL;
    }
    PyObject *module = PyModule_Create(&kernel);
    if (module == NULL || PyModule_AddObjectRef(module, "Forest", (PyObject *)&ForestType) < 0) {
        Py_XDECREF(module);
        return NULL;
    }
    return module;
}
