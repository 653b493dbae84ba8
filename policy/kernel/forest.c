/* Boosted trees for one decision point: a row to a margin.
 *
 * Nodes of all trees lie in one array, children side by side, so that a step is
 *
 *     node = left[node] + goes_right(cell[node])
 *
 * without a branch, for a guess that fails costs as much as several steps. A row becomes two
 * cells a feature, one for nodes that send what is missing left and one for those that send it
 * right: there it is minus and plus infinity. A categorical node is below infinity, and goes right
 * by its set; other nodes have the empty set. A leaf is its own left child, and its cell is always
 * minus infinity: all trees of a block are walked to the depth of the deepest, and their loads
 * overlap.
 * Leaves are added in the order of the trees, in float32, as XGBoost adds them: the margin is the
 * same to the bit.
 */

#include "kernel.h"

#include <stdint.h>

#define BLOCK 8
#define FEW 256
#define NO_CATEGORY 16777216.0f

typedef struct {
    float below;   /* values below go left; of a leaf what it adds */
    int32_t left;  /* the right child is the one after it */
    uint32_t cell; /* feature, or the number of features more where what is missing goes right */
    uint32_t set;  /* where its set begins in `sets`; 0 is empty */
} Node;

typedef struct {
    float value;
    uint32_t word, bit; /* of the category in a set */
} Cell;

typedef struct {
    PyObject_HEAD
    Node *nodes;
    uint32_t *sets;  /* bits of the categories that go right; all of a feature have one length */
    uint32_t *words; /* of each feature: length of its sets, less a last word of no category */
    int32_t *roots;
    int32_t *depths; /* of each block of trees */
    Py_ssize_t n_trees, n_features;
    float base;
    int categorical; /* whether any node is */
} Forest;

static void Forest_dealloc(Forest *self) {
    PyMem_Free(self->nodes);
    PyMem_Free(self->sets);
    PyMem_Free(self->words);
    PyMem_Free(self->roots);
    PyMem_Free(self->depths);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static int Forest_init(Forest *self, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
    Py_buffer nodes, sets, words, roots, depths;
    float base;
    if (self->nodes != NULL) {
        PyErr_SetString(PyExc_TypeError, "a forest is made once");
        return -1;
    }
    if (!PyArg_ParseTuple(args, "y*y*y*y*y*f", &nodes, &sets, &words, &roots, &depths, &base)) {
        return -1;
    }
    self->nodes = copied(&nodes);
    self->sets = copied(&sets);
    self->words = copied(&words);
    self->roots = copied(&roots);
    self->depths = copied(&depths);
    self->n_trees = roots.len / (Py_ssize_t)sizeof(int32_t);
    self->n_features = words.len / (Py_ssize_t)sizeof(uint32_t);
    self->base = base;
    self->categorical = sets.len > (Py_ssize_t)sizeof(uint32_t);
    PyBuffer_Release(&nodes);
    PyBuffer_Release(&sets);
    PyBuffer_Release(&words);
    PyBuffer_Release(&roots);
    PyBuffer_Release(&depths);
    if (!self->nodes || !self->sets || !self->words || !self->roots || !self->depths) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

/* Categories that no set knows, and what is missing, have the bit of the last word. */
static Cell category_cell(float value, uint32_t words) {
    uint32_t category = value >= 0.0f && value < NO_CATEGORY ? (uint32_t)value : UINT32_MAX;
    uint32_t word = category >> 5;
    return (Cell){0.0f, word < words ? word : words, category & 31u};
}

static void set_cells(const Forest *self, const float *row, Cell *cells) {
    Py_ssize_t n = self->n_features;
    for (Py_ssize_t k = 0; k < n; k++) {
        float value = row[k];
        uint32_t words = self->words[k];
        Cell cell = words ? category_cell(value, words) : (Cell){value, 0, 0};
        cells[k] = cells[n + k] = cell;
        if (value != value) {
            cells[k].value = -INFINITY;
            cells[n + k].value = INFINITY;
        }
    }
    cells[2 * n] = (Cell){-INFINITY, 0, 0};
}

static inline int32_t step(const Forest *self, int32_t at, const Cell *cells, int categorical) {
    const Node *node = self->nodes + at;
    const Cell *cell = cells + node->cell;
    int right = !(cell->value < node->below);
    if (categorical) {
        right |= (int)(self->sets[node->set + cell->word] >> cell->bit) & 1;
    }
    return node->left + right;
}

static inline float walked(const Forest *self, const Cell *cells, Py_ssize_t first, int count,
                           int categorical, float sum) {
    int32_t at[BLOCK];
    memcpy(at, self->roots + first, (size_t)count * sizeof(int32_t));
    for (int32_t depth = self->depths[first / BLOCK]; depth > 0; depth--) {
        for (int k = 0; k < count; k++) {
            at[k] = step(self, at[k], cells, categorical);
        }
    }
    for (int k = 0; k < count; k++) {
        sum += self->nodes[at[k]].below;
    }
    return sum;
}

static inline float all_walked(const Forest *self, const Cell *cells, int categorical) {
    float sum = self->base;
    Py_ssize_t first = 0;
    for (; first + BLOCK <= self->n_trees; first += BLOCK) {
        sum = walked(self, cells, first, BLOCK, categorical, sum);
    }
    if (first < self->n_trees) {
        sum = walked(self, cells, first, (int)(self->n_trees - first), categorical, sum);
    }
    return sum;
}

/* The margin of a row; NAN with an exception where there is no room for its cells. */
static float margin_of(const Forest *self, const float *row) {
    Cell few[FEW], *cells = few;
    if (2 * self->n_features + 1 > FEW) {
        cells = PyMem_New(Cell, 2 * self->n_features + 1);
        if (cells == NULL) {
            PyErr_NoMemory();
            return NAN;
        }
    }
    set_cells(self, row, cells);
    float sum = self->categorical ? all_walked(self, cells, 1) : all_walked(self, cells, 0);
    if (cells != few) {
        PyMem_Free(cells);
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

PyDoc_STRVAR(forest_doc, "Forest(nodes, sets, words, roots, depths, base)\n\n"
             "A boosted forest laid out by `policy.forest.layout`.");

PyTypeObject ForestType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "policy.kernel._kernel.Forest",
    .tp_doc = forest_doc,
    .tp_basicsize = sizeof(Forest),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = PyType_GenericNew,
    .tp_init = (initproc)Forest_init,
    .tp_dealloc = (destructor)Forest_dealloc,
    .tp_methods = Forest_methods,
};
