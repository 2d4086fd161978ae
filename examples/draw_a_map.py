"""A finished run in analysis code: its numbers, its map, and one of its probes.

python examples/draw_a_map.py outputs/2026-11-20/10-00-00 map.png
"""

from __future__ import annotations

import sys

import matplotlib.pyplot as plt

from probes import load_run


def main(directory: str, picture: str) -> None:
    """Draw the accuracies of the run's first feature, and print its best heads."""
    run = load_run(directory)
    feature = run.features[0]
    print(run.top(feature, k=5).to_string())

    accuracy = run.map(feature)  # layers x heads
    figure, axes = plt.subplots(figsize=(0.6 * accuracy.shape[1] + 1, 0.6 * accuracy.shape[0] + 1))
    image = axes.imshow(accuracy, origin="lower", cmap="viridis")
    axes.set_xticks(range(accuracy.shape[1]), [str(head) for head in accuracy.columns])
    axes.set_yticks(range(accuracy.shape[0]), [str(layer) for layer in accuracy.index])
    axes.set(xlabel="head", ylabel="layer", title=f"{feature}: accuracy on test")
    figure.colorbar(image)
    figure.savefig(picture, dpi=150, bbox_inches="tight")

    best = run.top(feature, k=1).iloc[0]
    layer, head = int(best["layer"]), int(best["head"])
    probe = run.probe(feature, layer=layer, head=head)  # a fitted scikit-learn classifier
    z = run.cache().layer(layer)[head]  # (rows, d_head), as the model computed them
    print(f"layer {layer} head {head} predicts", probe.predict(z[:5]))


if __name__ == "__main__":
    main(*sys.argv[1:])
