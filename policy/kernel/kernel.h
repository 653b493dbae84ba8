/* One decision in C: features to a row, a row to margins, uplift, and what the plan says of it.
 *
 * Every formula is that of its twin on arrays, in the same order of operations, and the build
 * keeps the compiler from fusing them: a decision is that of a batch to the bit.
 */

#ifndef REQUEST_UPLIFT_KERNEL_H
#define REQUEST_UPLIFT_KERNEL_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <string.h>

#define MOST_ARMS 128 /* beside arm 0; the arm of a log is an int8 */

extern PyTypeObject ForestType, CalibrationType, RuleType;

extern const char encode_doc[], encode_values_doc[], log_odds_doc[], expit_doc[], on_doc[];
PyObject *encode(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *encode_values(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *log_odds(PyObject *module, PyObject *probability);
PyObject *expit(PyObject *module, PyObject *margin);
PyObject *on(PyObject *module, PyObject *const *args, Py_ssize_t count);

/* Make the strings that a rule answers with; -1 with an exception. */
int make_reasons(void);

/* A copy of a buffer; NULL where there is no memory. */
void *copied(const Py_buffer *view);

/* Read a sequence of at most MOST_ARMS floats; their number, or -1 with an exception. */
Py_ssize_t read_floats(PyObject *sequence, double *into);

/* Number of sorted values below `value`, or those equal to it too. */
Py_ssize_t count_below(const double *sorted, Py_ssize_t n, double value);
Py_ssize_t count_up_to(const double *sorted, Py_ssize_t n, double value);

/* Python's min and max of two, which keep the first where they are alike or not numbers. */
static inline double least(double a, double b) { return b < a ? b : a; }
static inline double most(double a, double b) { return b > a ? b : a; }

#endif
