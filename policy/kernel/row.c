/* What a decision point's features are as a row of float32. */

#include "kernel.h"

/* Values that round to an infinite float32 are not features. */
#define BEYOND_FLOAT32 (0x1p128 - 0x1p103)

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

/* Fill a row from the values of a dictionary by `names`, or of a tuple in their order; -1, the first
 * column that only Python can read, or -2 with an exception.
 */
static Py_ssize_t fill(PyObject *values, PyObject *names, PyObject *places, PyObject *into) {
    Py_buffer row;
    if (!PyTuple_Check(places)) {
        PyErr_SetString(PyExc_TypeError, "places are a tuple");
        return -2;
    }
    Py_ssize_t n = PyTuple_GET_SIZE(places), bad = -1;
    if (PyObject_GetBuffer(into, &row, PyBUF_WRITABLE) < 0) {
        return -2;
    }
    if (row.len < n * (Py_ssize_t)sizeof(float)) {
        PyErr_SetString(PyExc_ValueError, "the row is shorter than the places");
        bad = -2;
    }
    float *cells = row.buf;
    for (Py_ssize_t k = 0; k < n && bad == -1; k++) {
        PyObject *value = names == NULL
                              ? PyTuple_GET_ITEM(values, k)
                              : PyDict_GetItemWithError(values, PyTuple_GET_ITEM(names, k));
        if (value == NULL || !put(value, PyTuple_GET_ITEM(places, k), cells + k)) {
            bad = k;
        }
    }
    PyBuffer_Release(&row);
    return PyErr_Occurred() ? -2 : bad;
}

const char encode_doc[] =
    "encode(features, names, places, row) -> int\n\n"
    "Fill a row of float32 from a dictionary; places: for each name a dictionary of\n"
    "categories, or None for a number. Return -1, or the first column that it cannot read.";

PyObject *encode(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count) {
    if (count != 4 || !PyDict_Check(args[0]) || !PyTuple_Check(args[1]) ||
        !PyTuple_Check(args[2]) || PyTuple_GET_SIZE(args[1]) != PyTuple_GET_SIZE(args[2])) {
        PyErr_SetString(PyExc_TypeError, "encode takes a dictionary, two tuples alike and a row");
        return NULL;
    }
    Py_ssize_t bad = fill(args[0], args[1], args[2], args[3]);
    return bad == -2 ? NULL : PyLong_FromSsize_t(bad);
}

const char encode_values_doc[] = "encode_values(values, places, row) -> int\n\n"
                                 "As `encode`, from a tuple of values in the order of the places.";

PyObject *encode_values(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count) {
    if (count != 3 || !PyTuple_Check(args[0]) || !PyTuple_Check(args[1]) ||
        PyTuple_GET_SIZE(args[0]) != PyTuple_GET_SIZE(args[1])) {
        PyErr_SetString(PyExc_TypeError, "encode_values takes two tuples alike and a row");
        return NULL;
    }
    Py_ssize_t bad = fill(args[0], NULL, args[1], args[2]);
    return bad == -2 ? NULL : PyLong_FromSsize_t(bad);
}
