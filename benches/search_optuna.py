"""Searches what `kindling bench search` searches with Optuna's TPE and Hyperband and prints the regrets as JSON.

Run by `kindling bench search --optuna PYTHON`; needs optuna only.
"""

import argparse
import gzip
import json
import math

import optuna

RUNGS = [1, 3, 9, 27, 81]
# As in the recorded table's replay: crates/search/src/recorded.rs.
MACS_A_SECOND = 5e9
SECONDS_AN_EXAMPLE = 2e-5

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


class Function:
    """A computed objective; an epoch takes a second."""

    rungs = RUNGS

    def __init__(self, function):
        self.function = function

    def ask(self, study):
        trial = study.ask()
        x = [trial.suggest_float(f"x{i}", 0, 1) for i in range(6)]
        a = trial.suggest_categorical("a", ["p", "q", "r", "s"])
        n = trial.suggest_int("n", 1, 8)
        return trial, lambda epochs: self.function(x, a, n, epochs), 1.0, None

    def regret(self, best):
        return 1 - best[0] if best else 1.0


class Recorded:
    """One data set of the recorded table with one seed; a suggestion is the nearest genome that was not tried.

    Optuna is told the parameters of that genome, as if it had suggested them.
    """

    def __init__(self, table, number, seed):
        self.table, self.set, self.seed = table, table["sets"][number], seed
        self.rungs = table["epochs"]
        self.families = {f["family"]: f["params"] for f in table["space"]["families"]}
        self.tried = set()
        # The test accuracy is the mean over the seeds; a training that failed counts as 0.
        self.test = [
            [sum(s[r] if r < len(s) else 0 for s in seeds) / len(seeds) for r in range(len(self.rungs))]
            for seeds in self.set["test"]
        ]

    def suggest(self, trial):
        family = trial.suggest_categorical("family", list(self.families))
        found = {}
        for param in self.families[family]:
            name, domain = f"{family}.{param['name']}", param["domain"]
            if domain["type"] == "choice":
                found[param["name"]] = trial.suggest_categorical(name, domain["options"])
            elif domain["type"] == "int":
                found[param["name"]] = trial.suggest_int(name, domain["low"], domain["high"], log=domain["log"])
            else:
                found[param["name"]] = trial.suggest_float(name, domain["low"], domain["high"], log=domain["log"])
        return {"family": family, "params": found}

    def place(self, domain, value):
        if domain["type"] == "choice":
            return (domain["options"].index(value) + 0.5) / len(domain["options"])
        half = 0.5 if domain["type"] == "int" else 0
        low, high = domain["low"] - half, domain["high"] + half
        if domain["log"]:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return (value - low) / (high - low)

    def distance(self, a, b):
        if a["family"] != b["family"]:
            return math.inf
        total = 0
        for param in self.families[a["family"]]:
            x, y = a["params"][param["name"]], b["params"][param["name"]]
            if isinstance(x, str):
                total += x != y
            else:
                total += (self.place(param["domain"], x) - self.place(param["domain"], y)) ** 2
        return math.sqrt(total)

    def ask(self, study):
        asked = study.ask()
        wanted = self.suggest(asked)
        free = [i for i in range(len(self.table["genomes"])) if i not in self.tried]
        if not free:
            return None
        index = min(free, key=lambda i: self.distance(wanted, self.table["genomes"][i]))
        self.tried.add(index)
        study.tell(asked, state=optuna.trial.TrialState.FAIL)
        genome = self.table["genomes"][index]
        params = {f"{genome['family']}.{name}": value for name, value in genome["params"].items()}
        study.enqueue_trial({"family": genome["family"], **params})
        trial = study.ask()
        self.suggest(trial)
        seeds = self.set["validation"][index]
        curve = seeds[self.seed % len(seeds)]

        def value(epochs):
            rung = self.rungs.index(epochs)
            return curve[rung] if rung < len(curve) else 0.0

        each = self.set["examples"]["train"] * (3 * self.set["macs"][index] / MACS_A_SECOND + SECONDS_AN_EXAMPLE)
        return trial, value, each, index

    def regret(self, best):
        most = max(max(rungs) for rungs in self.test)
        return most - (self.test[best[1]][self.rungs.index(best[2])] if best else 0.0)


def search(objective, seed, budgets, group):
    """One study, long enough for the largest budget: its regret at each."""
    sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, group=group, warn_independent_sampling=False)
    rungs = objective.rungs
    factor = rungs[1] // rungs[0]
    pruner = optuna.pruners.HyperbandPruner(min_resource=rungs[0], max_resource=rungs[-1], reduction_factor=factor)
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    spent, best, regrets = 0.0, None, []
    while len(regrets) < len(budgets):
        asked = objective.ask(study)
        if asked is None:
            break
        trial, at, each, index = asked
        before, pruned, value = 0, False, None
        for epochs in rungs:
            spent += each * (epochs - before)
            before = epochs
            # A result that comes after a budget's end does not count towards it.
            while len(regrets) < len(budgets) and spent > budgets[len(regrets)]:
                regrets.append(objective.regret(best))
            value = at(epochs)
            if best is None or value > best[0]:
                best = (value, index, epochs)
            trial.report(value, epochs)
            if trial.should_prune() and epochs != rungs[-1]:
                pruned = True
                break
        if pruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, value)
    return regrets + [objective.regret(best)] * (len(budgets) - len(regrets))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--budgets", default="250,500,1000,2000")
    parser.add_argument("--table")
    parser.add_argument("--table-budgets", default="5,10,20,40,80")
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    name = f"optuna {optuna.__version__}"
    rows = []

    def add(function, budgets, one):
        seeds = [one(seed) for seed in range(given.seeds)]
        by_budget = [[regrets[i] for regrets in seeds] for i in range(len(budgets))]
        rows.append({"function": function, "search": name, "budgets": by_budget})

    budgets = [float(b) for b in given.budgets.split(",")]
    for function, value in {"hartmann": hartmann, "crossing": crossing, "mixed": mixed}.items():
        add(function, budgets, lambda seed: search(Function(value), seed, budgets, False))
    if given.table:
        with gzip.open(given.table) as file:
            table = json.load(file)
        budgets = [float(b) for b in given.table_budgets.split(",")]
        for number, recorded in enumerate(table["sets"]):
            add(recorded["name"], budgets, lambda seed: search(Recorded(table, number, seed), seed, budgets, True))
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
