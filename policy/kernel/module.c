/* The module, and what its parts share. */

#include "kernel.h"

void *copied(const Py_buffer *view) {
    void *copy = PyMem_Malloc(view->len ? (size_t)view->len : 1);
    if (copy != NULL) {
        memcpy(copy, view->buf, (size_t)view->len);
    }
    return copy;
}

Py_ssize_t read_floats(PyObject *sequence, double *into) {
    PyObject *fast = PySequence_Fast(sequence, "expected a list or a tuple of floats");
    if (fast == NULL) {
        return -1;
    }
    Py_ssize_t n = PySequence_Fast_GET_SIZE(fast);
    PyObject **items = PySequence_Fast_ITEMS(fast);
    if (n < 1 || n > MOST_ARMS) {
        PyErr_Format(PyExc_ValueError, "%zd values; expected one for each of 1 to %d arms", n,
                     MOST_ARMS);
        n = -1;
    }
    for (Py_ssize_t k = 0; k < n; k++) {
        into[k] = PyFloat_AsDouble(items[k]);
    }
    Py_DECREF(fast);
    return PyErr_Occurred() ? -1 : n;
}

Py_ssize_t count_below(const double *sorted, Py_ssize_t n, double value) {
    Py_ssize_t low = 0;
    while (low < n) {
        Py_ssize_t middle = (low + n) / 2;
        if (sorted[middle] < value) {
            low = middle + 1;
        } else {
            n = middle;
        }
    }
    return low;
}

Py_ssize_t count_up_to(const double *sorted, Py_ssize_t n, double value) {
    Py_ssize_t low = 0;
    while (low < n) {
        Py_ssize_t middle = (low + n) / 2;
        if (value < sorted[middle]) {
            n = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

static PyMethodDef functions[] = {
    {"encode", (PyCFunction)(void (*)(void))encode, METH_FASTCALL, encode_doc},
    {"encode_values", (PyCFunction)(void (*)(void))encode_values, METH_FASTCALL, encode_values_doc},
    {"log_odds", (PyCFunction)log_odds, METH_O, log_odds_doc},
    {"expit", (PyCFunction)expit, METH_O, expit_doc},
    {"on", (PyCFunction)(void (*)(void))on, METH_FASTCALL, on_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef kernel = {
    PyModuleDef_HEAD_INIT,
    .m_name = "policy.kernel._kernel",
    .m_doc = "One decision in C.",
    .m_size = -1,
    .m_methods = functions,
};

static int add_type(PyObject *module, const char *name, PyTypeObject *type) {
    if (PyType_Ready(type) < 0) {
        return -1;
    }
    return PyModule_AddObjectRef(module, name, (PyObject *)type);
}

PyMODINIT_FUNC PyInit__kernel(void) {
    PyObject *module = PyModule_Create(&kernel);
    if (module == NULL || make_reasons() < 0 ||
        add_type(module, "Forest", &ForestType) < 0 ||
        add_type(module, "Calibration", &CalibrationType) < 0 ||
        add_type(module, "Rule", &RuleType) < 0) {
        Py_XDECREF(module);
        return NULL;
    }
    return module;
}
