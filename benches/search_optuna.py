"""Searches the functions of `kindling bench search` with Optuna's TPE and Hyperband and prints the regrets as JSON.

Run by `kindling bench search --optuna PYTHON`; needs optuna only.
"""

import argparse
import json
import math

import optuna

RUNGS = [1, 3, 9, 27, 81]

A = [
    [10.0, 3.0, 17.0, 3.5, 1.7, 8.0],
    [0.05, 10.0, 17.0, 0.1, 8.0, 14.0],
    [3.0, 3.5, 1.7, 10.0, 17.0, 8.0],
    [17.0, 8.0, 0.05, 10.0, 0.1, 14.0],
]
P = [
    [0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886],
    [0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991],
    [0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650],
    [0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381],
]


def share(epochs, slowness):
    return (1 - math.exp(-epochs / slowness)) / (1 - math.exp(-81 / slowness))


def hartmann(x, a, n, epochs):
    total = 0
    for weight, row, centre in zip([1.0, 1.2, 3.0, 3.2], A, P):
        total += weight * math.exp(-sum(row[j] * (x[j] - centre[j]) ** 2 for j in range(6)))
    return total / 3.322368 * share(epochs, 8)


def crossing(x, a, n, epochs):
    reach = 1 - sum((x[i] - 0.3 - 0.08 * i) ** 2 for i in range(6))
    return reach * share(epochs, 2 + 10 * max(reach, 0) ** 4)


def mixed(x, a, n, epochs):
    centre, worth = {"p": (0.2, 0.9), "q": (0.5, 0.8), "r": (0.75, 1.0), "s": (0.9, 0.7)}[a]
    far = sum(abs(v - centre) for v in x[:4]) / 4
    return worth * (1 - far) * (1 - 0.03 * abs(n - 6)) * share(epochs, 4)


FUNCTIONS = {"hartmann": hartmann, "crossing": crossing, "mixed": mixed}


def search(function, seed, budget):
    """One study; a trial costs its epochs, and the one that passes the budget counts as far as it came."""
    sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, warn_independent_sampling=False)
    pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=81, reduction_factor=3)
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    spent, best = 0, 0.0
    while spent < budget:
        trial = study.ask()
        x = [trial.suggest_float(f"x{i}", 0, 1) for i in range(6)]
        a = trial.suggest_categorical("a", ["p", "q", "r", "s"])
        n = trial.suggest_int("n", 1, 8)
        before, pruned, value = 0, False, None
        for epochs in RUNGS:
            if spent + epochs - before > budget:
                spent = budget
                break
            spent += epochs - before
            before = epochs
            value = function(x, a, n, epochs)
            best = max(best, value)
            trial.report(value, epochs)
            if trial.should_prune():
                pruned = True
                break
        if value is None:
            break
        if pruned or before < RUNGS[-1]:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, value)
    return 1 - best


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--budgets", default="250,500,1000,2000")
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rows = []
    for name, function in FUNCTIONS.items():
        budgets = [[search(function, seed, float(b)) for seed in range(given.seeds)] for b in given.budgets.split(",")]
        rows.append({"function": name, "search": f"optuna {optuna.__version__}", "budgets": budgets})
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
