"""Constants that were fitted to a machine: they decide how fast a fit is.

Fitted on two cores of an AMD EPYC (Zen 3, AVX2, no AVX-512), two threads, torch with its own BLAS:
by timing ``benchmarks/fit.py`` (binary and many-class problems on synthetic and real heads, whole
layers, permutations) with values around each one, and for the two functions at the end by timing
the operations that they sum. On another machine they are safe but need not be the best. A fit
converges to the same optimum, to within its tolerance, whatever their values; the last digits of
what it ends in may differ. Constants of the algorithm itself, which decide how a step is taken
and when a fit stops, stand in the file that uses them.
"""

HEADS_BYTES = 64 << 20
"""Bytes of rows of heads that are solved together on a CPU."""
LOGITS_BYTES = 8 << 20
"""Bytes of one buffer of logits that stay in a CPU's cache while they are passed over."""

BLOCK_ROWS = 1024
"""Rows of a head that one thread of a CPU multiplies at a time."""
CONVERTED_BYTES = 32 << 20
"""Bytes of float32 rows that are converted to float64 at a time."""
COLUMN_AS_MATRIX_WIDTH = 64
"""Features from which a CPU multiplies rows with a single column, not it with them: that takes half
the time, as its sums run over neighbouring numbers."""
STANDARDISED_NUMBERS = 1 << 18
"""Numbers that are centred and scaled at a time."""
COPIED_BYTES = 128 << 20
"""Above this, standardised rows of a head that are stored elsewhere are not copied, but made again
for each pass."""
FLOAT64_BYTES = 64 << 20
"""Above this, the rows of a fit in float64 are stored in float32."""
KEPT_BYTES = 128 << 20
"""A workspace that has grown beyond this is given back after the call that needed it."""

LIBRARY_SOFTMAX = 1 << 19
"""Logits up to which one call of the library's softmax takes less time than four passes."""
SMALLEST_HALF = 48
"""Columns of the smallest half that an inverse is put together from."""
HESSIAN_NUMBERS = 1 << 21
"""Numbers of Hessians and their rows that are formed at a time."""

NARROW = 128
"""Up to this width a Gram matrix or a column's own Hessian costs few passes over the rows."""
DENSE_COLUMNS = 4
"""Up to so many columns of a head, inverting each one's matrix is cheaper than eigenvectors."""


def nanoseconds_of_hessians(
    rows: int, parameters: int, columns: int, sample: int, stride: int
) -> float:
    """Time of the sampled Hessians of some columns of a head, and of their inverses.

    rows: of the head. parameters: of a column, n. sample: rows that each Hessian is formed from.
    stride: between the rows that the samples are drawn from.
    """
    n = parameters
    shared = 2e5 + 0.7 * n * rows / stride  # the calls; rows are copied beside a column of ones
    drawn = sample * (60 + n / 2 + n * n / 60)  # drawn, gathered, multiplied
    return shared + columns * (drawn + n**3 / 30)  # and inverted


def nanoseconds_of_an_iteration(rows: int, parameters: int, columns: int) -> float:
    """Time of one iteration of the search: softmax and products of each column, but at least what
    it takes to read the rows twice."""
    n = parameters
    return 1e5 + rows * max(columns * (4 + n / 24), 0.8 * n)
