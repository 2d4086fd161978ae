"""Where else a run is logged, beside its own directory: CSV, TensorBoard or Weights & Biases.

One logger lives for one run (``make_logger``). Leaving its ``with`` block closes everything, so
that the next job of a sweep in the same process starts its own. The results are files of the run
directory before anything is logged, and whatever goes wrong here costs none of them. The process
environment is read and never changed.

wandb, TensorBoard, Lightning and matplotlib are imported where they are used: most runs log to none
of them.
"""
