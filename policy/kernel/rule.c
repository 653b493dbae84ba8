/* The plan's rule for one decision point: the twin of `policy.rule.PriceRule` and of
 * `policy.reserve.ReserveTable`.
 */

#include "kernel.h"

#include <stdint.h>

enum {
    WORTH_IT,
    TIE,
    BELOW_PRICE,
    BELOW_RESERVE,
    NOTHING_GAINED,
    SESSION_LIMIT,
    PAGE_LIMIT,
    TOO_SOON,
    REASONS
};

static const char *const TOLD[REASONS] = {
    "worth it",       "tie",           "below price", "below reserve",
    "nothing gained", "session limit", "page limit",  "too soon",
};
static PyObject *reasons[REASONS];

typedef struct {
    Py_ssize_t requests, on_page, slots_since;
} State;

typedef struct {
    PyObject_HEAD
    Py_ssize_t n_windows, n_arms;
    double *price, *tie_share; /* by window */
    double *cost, *mean;       /* of each arm; what its gain is shrunk towards */
    double shrink, tolerance;
    Py_ssize_t per_session, per_page, min_gap; /* caps; -1 is none */
    double *value, *levels; /* (levels, pages, starts, on_session, on_page) worth of keeping it */
    int64_t *starts;        /* positions where a place begins */
    Py_ssize_t n_levels, n_starts, pages, sizes[2];
} Rule;

static void Rule_dealloc(Rule *self) {
    PyMem_Free(self->price);
    PyMem_Free(self->tie_share);
    PyMem_Free(self->cost);
    PyMem_Free(self->mean);
    PyMem_Free(self->value);
    PyMem_Free(self->levels);
    PyMem_Free(self->starts);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

/* Copy an array of eight-byte numbers out of a buffer, and let the buffer go. */
static void *taken(Py_buffer *view, Py_ssize_t *length) {
    void *copy = copied(view);
    *length = view->len / 8;
    PyBuffer_Release(view);
    if (copy == NULL) {
        PyErr_NoMemory();
    }
    return copy;
}

static int read_shrinkage(Rule *self, PyObject *told) {
    Py_buffer mean;
    Py_ssize_t n;
    if (!PyArg_ParseTuple(told, "dy*", &self->shrink, &mean)) {
        return -1;
    }
    self->mean = taken(&mean, &n);
    if (self->mean != NULL && n != self->n_arms) {
        PyErr_SetString(PyExc_ValueError, "the shrinkage has not one mean for each arm");
    }
    return PyErr_Occurred() ? -1 : 0;
}

static int read_reserve(Rule *self, PyObject *told) {
    Py_buffer value, levels, starts;
    Py_ssize_t n;
    if (!PyArg_ParseTuple(told, "y*y*y*nnn", &value, &levels, &starts, &self->pages,
                          &self->sizes[0], &self->sizes[1])) {
        return -1;
    }
    self->value = taken(&value, &n);
    self->levels = taken(&levels, &self->n_levels);
    self->starts = taken(&starts, &self->n_starts);
    if (!PyErr_Occurred() &&
        (n < 1 || self->pages < 1 || self->sizes[0] < 1 || self->sizes[1] < 1 ||
         n != self->n_levels * self->pages * self->n_starts * self->sizes[0] * self->sizes[1])) {
        PyErr_SetString(PyExc_ValueError, "the reserve has not one worth for each of its places");
    }
    return PyErr_Occurred() ? -1 : 0;
}

static int Rule_init(Rule *self, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
    Py_buffer price, tie_share, cost;
    PyObject *shrinkage, *reserve;
    Py_ssize_t n_shares;
    if (self->price != NULL) {
        PyErr_SetString(PyExc_TypeError, "a rule is made once");
        return -1;
    }
    if (!PyArg_ParseTuple(args, "y*y*y*(nnn)OOd", &price, &tie_share, &cost, &self->per_session,
                          &self->per_page, &self->min_gap, &shrinkage, &reserve,
                          &self->tolerance)) {
        return -1;
    }
    self->price = taken(&price, &self->n_windows);
    self->tie_share = taken(&tie_share, &n_shares);
    self->cost = taken(&cost, &self->n_arms);
    if (PyErr_Occurred()) {
        return -1;
    }
    if (self->n_windows < 1 || n_shares != self->n_windows || self->n_arms > MOST_ARMS) {
        PyErr_SetString(PyExc_ValueError, "a rule has a price and a tie share for each window");
        return -1;
    }
    if (shrinkage != Py_None && read_shrinkage(self, shrinkage) < 0) {
        return -1;
    }
    return reserve == Py_None ? 0 : read_reserve(self, reserve);
}

/* The arm of most gain net of its price, and that; arm 0 where nothing is gained. */
static Py_ssize_t best(const Rule *self, const double *uplift, double price, double *net) {
    Py_ssize_t arm = 0;
    *net = -INFINITY;
    for (Py_ssize_t k = 0; k < self->n_arms; k++) {
        double gain = uplift[k];
        if (self->mean != NULL) {
            gain = (1.0 - self->shrink) * gain + self->shrink * self->mean[k];
        }
        double worth = gain - price * self->cost[k];
        if (gain > 0.0 && worth > *net) {
            arm = k + 1;
            *net = worth;
        }
    }
    return arm;
}

/* Which limit forbids a request now; -1 where none does. */
static int refusal(const Rule *self, const State *state) {
    if (self->per_session >= 0 && state->requests >= self->per_session) {
        return SESSION_LIMIT;
    }
    if (self->per_page >= 0 && state->on_page >= self->per_page) {
        return PAGE_LIMIT;
    }
    return state->slots_since < self->min_gap ? TOO_SOON : -1;
}

/* The index of what a cap leaves, as `policy.reserve.left` has it. */
static Py_ssize_t left(Py_ssize_t cap, Py_ssize_t made, Py_ssize_t size) {
    if (cap < 0 || size == 1) {
        return 0;
    }
    Py_ssize_t rest = cap - made < 1 ? 1 : cap - made;
    return (rest > size ? size : rest) - 1;
}

static Py_ssize_t place_of(const Rule *self, Py_ssize_t page, Py_ssize_t position) {
    Py_ssize_t bucket = 0;
    while (bucket + 1 < self->n_starts && self->starts[bucket + 1] <= position) {
        bucket++;
    }
    return (page < self->pages ? page : self->pages - 1) * self->n_starts + bucket;
}

/* The worth of keeping the request for later, as `ReserveTable.at_price` has it. */
static double kept(const Rule *self, double price, Py_ssize_t page, Py_ssize_t position,
                   const State *state) {
    if (self->value == NULL) {
        return 0.0;
    }
    Py_ssize_t per_place = self->sizes[0] * self->sizes[1];
    Py_ssize_t per_level = self->pages * self->n_starts * per_place;
    Py_ssize_t at = place_of(self, page, position) * per_place +
                    left(self->per_session, state->requests, self->sizes[0]) * self->sizes[1] +
                    left(self->per_page, state->on_page, self->sizes[1]);
    Py_ssize_t above = count_below(self->levels, self->n_levels, price);
    above = above < 1 ? 1 : above;
    above = above < self->n_levels ? above : self->n_levels - 1;
    Py_ssize_t below = above > 0 ? above - 1 : 0;
    double width = above > below ? self->levels[above] - self->levels[below] : 1.0;
    double share = least(most((price - self->levels[below]) / width, 0.0), 1.0);
    return (1.0 - share) * self->value[below * per_level + at] +
           share * self->value[above * per_level + at];
}

static PyObject *told(Py_ssize_t arm, double share, double price, double reserve, int reason,
                      int refused) {
    PyObject *choice = PyTuple_New(6);
    if (choice == NULL) {
        return NULL;
    }
    PyTuple_SET_ITEM(choice, 0, PyLong_FromSsize_t(arm));
    PyTuple_SET_ITEM(choice, 1, PyFloat_FromDouble(share));
    PyTuple_SET_ITEM(choice, 2, PyFloat_FromDouble(price));
    PyTuple_SET_ITEM(choice, 3, PyFloat_FromDouble(reserve));
    PyTuple_SET_ITEM(choice, 4, Py_NewRef(reasons[reason]));
    PyTuple_SET_ITEM(choice, 5, PyBool_FromLong(refused));
    if (PyErr_Occurred()) {
        Py_CLEAR(choice);
    }
    return choice;
}

static PyObject *chosen(const Rule *self, const double *uplift, Py_ssize_t window, double price,
                        Py_ssize_t page, Py_ssize_t position, const State *state) {
    double net;
    Py_ssize_t arm = best(self, uplift, price, &net);
    int refused = refusal(self, state);
    if (arm == 0) {
        return told(0, 0.0, price, 0.0, NOTHING_GAINED, refused >= 0);
    }
    double reserve = kept(self, price, page, position, state);
    if (refused >= 0) {
        return told(arm, 0.0, price, reserve, refused, 1);
    }
    double worth = net - reserve;
    if (fabs(worth) <= self->tolerance * (price * self->cost[arm - 1])) {
        return told(arm, self->tie_share[window], price, reserve, TIE, 0);
    }
    if (worth > 0.0) {
        return told(arm, 1.0, price, reserve, WORTH_IT, 0);
    }
    return told(arm, 0.0, price, reserve, net > 0.0 ? BELOW_RESERVE : BELOW_PRICE, 0);
}

PyDoc_STRVAR(choose_doc,
             "choose(uplift, window, price, page, position, requests, on_page, slots_since)\n"
             "    -> (arm, share, price, reserve, reason, refused)\n\n"
             "The best arm, the chance that it is given, and whether a limit forbids any. The\n"
             "window's own price where `price` is None.");

static PyObject *Rule_choose(Rule *self, PyObject *const *args, Py_ssize_t count) {
    double uplift[MOST_ARMS];
    Py_ssize_t whole[8];
    if (count != 8) {
        PyErr_SetString(PyExc_TypeError, "choose takes 8 arguments");
        return NULL;
    }
    Py_ssize_t n = read_floats(args[0], uplift);
    if (n < 0) {
        return NULL;
    }
    for (int k = 1; k < 8; k++) {
        whole[k] = k == 2 ? 0 : PyLong_AsSsize_t(args[k]);
    }
    if (PyErr_Occurred()) {
        return NULL;
    }
    if (n != self->n_arms || whole[1] < 0 || whole[1] >= self->n_windows || whole[3] < 0) {
        PyErr_SetString(PyExc_ValueError, "uplift, window or page are not the rule's");
        return NULL;
    }
    double price = args[2] == Py_None ? self->price[whole[1]] : PyFloat_AsDouble(args[2]);
    if (PyErr_Occurred()) {
        return NULL;
    }
    State state = {whole[5], whole[6], whole[7]};
    return chosen(self, uplift, whole[1], price, whole[3], whole[4], &state);
}

static PyMethodDef Rule_methods[] = {
    {"choose", (PyCFunction)(void (*)(void))Rule_choose, METH_FASTCALL, choose_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(rule_doc,
             "Rule(price, tie_share, cost, limits, shrinkage, reserve, tolerance)\n\n"
             "A plan's rule laid out by `policy.serving_rule`: arrays as bytes.");

PyTypeObject RuleType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "policy.kernel._kernel.Rule",
    .tp_doc = rule_doc,
    .tp_basicsize = sizeof(Rule),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = PyType_GenericNew,
    .tp_init = (initproc)Rule_init,
    .tp_dealloc = (destructor)Rule_dealloc,
    .tp_methods = Rule_methods,
};

int make_reasons(void) {
    for (int k = 0; k < REASONS; k++) {
        if (reasons[k] == NULL && (reasons[k] = PyUnicode_InternFromString(TOLD[k])) == NULL) {
            return -1;
        }
    }
    return 0;
}
