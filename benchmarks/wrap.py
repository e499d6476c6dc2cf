"""``snn solve`` of a wrapped activation, beside Deep Kernel Shaping's transformations where they are installed.

Time in process, and how exactly a wrap's doubles hold its two conditions. Deep Kernel Shaping (``pip install dks
autograd absl-py``) solves other conditions, on the maps of a whole network: only its time stands beside.

Run with ``python -m benchmarks.wrap``.
"""

from __future__ import annotations

import time
from statistics import median

ACTS = ("tanh", "gelu", "silu", "softplus", "relu")
REPEATS = 5


def main() -> None:
    print("snn solve --act ACT --epsilon 0.02, in process")
    from snn_cli import solve
    from snn_cli.errors import SnnError

    for act in ACTS:
        try:
            found = solve(act, "0.02")
        except SnnError as error:
            print(f"  {act:<10} {error}")
            continue
        times = []
        for i in range(REPEATS):
            start = time.perf_counter()
            solve(act, f"0.0{i + 3}")
            times.append(time.perf_counter() - start)
        worst = max(abs(found.residuals["second_moment"]), abs(found.residuals["chi"]))
        print(f"  {act:<10} {median(times):6.3f} s   its conditions hold to {worst:.1e}")
    print("Deep Kernel Shaping, get_transformed_activations, in process")
    try:
        from dks.base import activation_transform
    except Exception as error:  # a package of 2023: whatever it stumbles over here
        print(f"  cannot be imported: {type(error).__name__}: {error}")
        return
    for act in ("tanh", "softplus"):
        try:
            start = time.perf_counter()
            activation_transform.get_transformed_activations(
                [act], method="DKS", dks_params={"c_slope_1_target": 1.5}, subnet_max_func=lambda x, r: r(x)
            )
            print(f"  {act:<10} {time.perf_counter() - start:6.3f} s")
        except Exception as error:
            print(f"  {act:<10} does not run here: {type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
