/* From margins to calibrated uplift: the twins of `uplift.learners.base.Prediction.on` and of
 * `uplift.calibration.maps.ArmMap`.
 */

#include "kernel.h"

const char log_odds_doc[] =
    "log_odds(probability) -> float\n\n"
    "Log-odds in float32, by the C library's logf as XGBoost has them.";

PyObject *log_odds(PyObject *Py_UNUSED(module), PyObject *probability) {
    float score = (float)PyFloat_AsDouble(probability);
    return PyErr_Occurred() ? NULL : PyFloat_FromDouble((double)-logf(1.0f / score - 1.0f));
}

const char expit_doc[] = "expit(margin) -> float\n\n1 / (1 + exp(-margin))";

PyObject *expit(PyObject *Py_UNUSED(module), PyObject *margin) {
    double m = PyFloat_AsDouble(margin);
    if (m == -1.0 && PyErr_Occurred()) {
        return NULL;
    }
    return PyFloat_FromDouble(1.0 / (1.0 + exp(-m)));
}

/* Put uplifts on the outcome under arm 0: outcome[0] is that of arm 0, within what they allow. */
static void put_on(double control, Py_ssize_t n, const double *uplift, int binary,
                   double *outcome) {
    double highest = uplift[0], lowest = uplift[0];
    for (Py_ssize_t k = 1; k < n; k++) {
        highest = most(highest, uplift[k]);
        lowest = least(lowest, uplift[k]);
    }
    if (binary) {
        double low = -lowest, high = 1.0 - highest;
        if (!(low <= control && control <= high && 0.0 <= control && control <= 1.0)) {
            control = least(most(control, low), most(low, high));
            control = least(most(control, 0.0), 1.0);
        }
    }
    outcome[0] = control;
    for (Py_ssize_t k = 0; k < n; k++) {
        double sum = control + uplift[k];
        outcome[k + 1] = binary ? least(most(sum, 0.0), 1.0) : sum;
    }
}

const char on_doc[] = "on(control, uplift, binary) -> float\n\n"
                      "Outcome under arm 0, within what the uplifts of the other arms allow.";

/* Read the outcome under arm 0 and uplifts; the number of these, or -1 with an exception. */
static Py_ssize_t read_pair(PyObject *const *args, double *control, double *uplift) {
    *control = PyFloat_AsDouble(args[0]);
    return PyErr_Occurred() ? -1 : read_floats(args[1], uplift);
}

PyObject *on(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count) {
    double control, uplift[MOST_ARMS], outcome[MOST_ARMS + 1];
    if (count != 3) {
        PyErr_SetString(PyExc_TypeError, "on takes control, uplift and whether it is binary");
        return NULL;
    }
    Py_ssize_t n = read_pair(args, &control, uplift);
    if (n < 0) {
        return NULL;
    }
    put_on(control, n, uplift, PyObject_IsTrue(args[2]), outcome);
    return PyFloat_FromDouble(outcome[0]);
}

typedef struct {
    Py_ssize_t n;
    double *x, *y, *slopes; /* knots, and the slope of each piece between them */
    double slope;           /* beyond the first and last knot */
} Map;

typedef struct {
    PyObject_HEAD
    Py_ssize_t n_arms;
    int binary;
    Map *maps;
} Calibration;

static void Calibration_dealloc(Calibration *self) {
    for (Py_ssize_t k = 0; k < self->n_arms; k++) {
        PyMem_Free(self->maps[k].x);
        PyMem_Free(self->maps[k].y);
        PyMem_Free(self->maps[k].slopes);
    }
    PyMem_Free(self->maps);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

/* Whether finite numbers rise, so that every number has its piece. */
static int rises(const double *x, Py_ssize_t n) {
    for (Py_ssize_t k = 0; k + 1 < n; k++) {
        if (!(x[k] < x[k + 1])) {
            return 0;
        }
    }
    return isfinite(x[0]) && isfinite(x[n - 1]);
}

/* Read a map from a tuple of the bytes of x and of y, and the slope. */
static int read_map(PyObject *table, Map *map) {
    Py_buffer x, y;
    if (!PyTuple_Check(table) || !PyArg_ParseTuple(table, "y*y*d", &x, &y, &map->slope)) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_TypeError, "a map is a tuple of x, y and a slope");
        }
        return -1;
    }
    map->n = x.len / (Py_ssize_t)sizeof(double);
    int fits = map->n > 0 && x.len == y.len && rises(x.buf, map->n);
    if (fits) {
        map->x = copied(&x);
        map->y = copied(&y);
        map->slopes = PyMem_New(double, map->n);
    }
    PyBuffer_Release(&x);
    PyBuffer_Release(&y);
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "a map has as many y as x, and x that rise");
        return -1;
    }
    if (!map->x || !map->y || !map->slopes) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t k = 0; k + 1 < map->n; k++) {
        map->slopes[k] = (map->y[k + 1] - map->y[k]) / (map->x[k + 1] - map->x[k]);
    }
    return 0;
}

static int Calibration_init(Calibration *self, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
    PyObject *maps;
    int binary;
    if (!PyArg_ParseTuple(args, "O!p", &PyTuple_Type, &maps, &binary)) {
        return -1;
    }
    Py_ssize_t n = PyTuple_GET_SIZE(maps);
    if (self->maps != NULL || n < 1 || n > MOST_ARMS) {
        PyErr_Format(PyExc_ValueError, "%zd maps; expected one for each of 1 to %d arms, once", n,
                     MOST_ARMS);
        return -1;
    }
    self->maps = PyMem_Calloc((size_t)n, sizeof(Map));
    if (self->maps == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    self->n_arms = n;
    self->binary = binary;
    for (Py_ssize_t k = 0; k < n; k++) {
        if (read_map(PyTuple_GET_ITEM(maps, k), self->maps + k) < 0) {
            return -1;
        }
    }
    return 0;
}

static double mapped(const Map *map, double uplift) {
    double inside = least(most(uplift, map->x[0]), map->x[map->n - 1]);
    Py_ssize_t k = count_up_to(map->x, map->n, inside) - 1;
    int on_knot = k == map->n - 1 || map->x[k] == inside;
    double value = on_knot ? map->y[k] : map->slopes[k] * (inside - map->x[k]) + map->y[k];
    return value + map->slope * (uplift - inside);
}

PyDoc_STRVAR(apply_doc, "apply(control, uplift) -> tuple\n\n"
             "Calibrated uplift of each arm, from the outcome under arm 0 and predicted uplift.");

static PyObject *Calibration_apply(Calibration *self, PyObject *const *args, Py_ssize_t count) {
    double control, uplift[MOST_ARMS], outcome[MOST_ARMS + 1];
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "apply takes control and uplift");
        return NULL;
    }
    Py_ssize_t n = read_pair(args, &control, uplift);
    if (n < 0) {
        return NULL;
    }
    if (n != self->n_arms) {
        PyErr_Format(PyExc_ValueError, "%zd uplifts for %zd maps", n, self->n_arms);
        return NULL;
    }
    for (Py_ssize_t k = 0; k < n; k++) {
        uplift[k] = mapped(self->maps + k, uplift[k]);
    }
    put_on(control, n, uplift, self->binary, outcome);
    PyObject *told = PyTuple_New(n);
    for (Py_ssize_t k = 0; told != NULL && k < n; k++) {
        PyObject *value = PyFloat_FromDouble(outcome[k + 1] - outcome[0]);
        if (value == NULL) {
            Py_CLEAR(told);
        } else {
            PyTuple_SET_ITEM(told, k, value);
        }
    }
    return told;
}

static PyMethodDef Calibration_methods[] = {
    {"apply", (PyCFunction)(void (*)(void))Calibration_apply, METH_FASTCALL, apply_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(calibration_doc, "Calibration(maps, binary)\n\n"
             "Maps of all arms: of each the bytes of its knots x and y, and the slope beyond.");

PyTypeObject CalibrationType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "policy.kernel._kernel.Calibration",
    .tp_doc = calibration_doc,
    .tp_basicsize = sizeof(Calibration),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = PyType_GenericNew,
    .tp_init = (initproc)Calibration_init,
    .tp_dealloc = (destructor)Calibration_dealloc,
    .tp_methods = Calibration_methods,
};
