#!/usr/bin/env python3
"""policy_property: random policies and connections, judged by policy.c and by the slow, obvious
evaluator below, which is written from the same text (reference/datapath 4.2 to 4.5) and from
docs/compatibility.md (a listed policy that is not known denies).

usage: policy_property.py JUDGE [JUDGEMENTS] [SEED]        default 40000 judgements, seed 1
"""

import ipaddress
import random
import subprocess
import sys
import tempfile

WORKLOADS, QUESTIONS = 40, 250  # of one round; questions are asked of each workload
NAMESPACES = ["", "a", "ab", "b", "root"]
ACCOUNTS = ["", "s", "sa", "t"]
DOMAINS = ["td", "td2", "cluster.local"]
PORTS = [1, 80, 8080, 65535]
ADDRESSES = ["10.0.0.1", "10.0.0.2", "10.0.1.1", "192.168.0.1", "fd00::1", "fd00::2", "fd00:1::1"]
TEXTS = ["", "a", "ab", "b", "s", "td", "/ns/", "b/sa", "/sa/s", "td2/ns/", "td/ns/a/sa/s",
         "cluster.local/ns/b/sa/sa", "spiffe://td/ns/a/sa/s"]


# --- the evaluator -------------------------------------------------------------------------------

def text_hits(match, text):
    kind, want = match
    return {"Exact": text == want, "Prefix": text.startswith(want), "Suffix": text.endswith(want),
            "Presence": text != ""}[kind]


def cidr_hits(cidr, address):
    network = ipaddress.ip_network(cidr, strict=False)
    address = ipaddress.ip_address(address)
    return address.version == network.version and address in network


def attribute_hits(name, item, question):
    identity = question["identity"]
    parts = identity.removeprefix("spiffe://").split("/") if identity else None
    if name == "namespaces":
        return text_hits(item, parts[2] if parts else "")
    if name == "principals":
        return identity is not None and text_hits(item, identity.removeprefix("spiffe://"))
    if name == "serviceAccounts":
        return parts is not None and item == (parts[2], parts[4])
    if name == "sourceIps":
        return cidr_hits(item, question["source"][0])
    if name == "destinationIps":
        return cidr_hits(item, question["destination"][0])
    return item == question["destination"][1]


def match_hits(match, question):
    lists = {key: items for key, items in match.items() if items}
    if not lists:
        return False
    for key, items in lists.items():
        if key.startswith("not"):
            name = key[3].lower() + key[4:]
            if any(attribute_hits(name, item, question) for item in items):
                return False
        elif not any(attribute_hits(key, item, question) for item in items):
            return False
    return True


def clause_hits(clause, question):
    return not clause or any(match_hits(match, question) for match in clause)


def rule_hits(rule, question):
    return all(clause_hits(clause, question) for clause in rule)


def rule_of(policy, question):
    """The first rule that matches, or None."""
    for index, rule in enumerate(policy["rules"]):
        if rule_hits(rule, question):
            return index
    return None


def applies(policy, workload):
    if policy["key"] in workload["listed"]:
        return True
    if policy["scope"] == "Global":
        return True
    return policy["scope"] == "Namespace" and policy["namespace"] in ("", workload["namespace"])


def first(policies):
    return min(policies, key=lambda policy: policy["key"], default=None)


def judge(policies, workload, question):
    mine = [policy for policy in policies if applies(policy, workload)]
    hits = {policy["key"]: rule_of(policy, question) for policy in mine}

    def those(action, dry, hit):
        return [p for p in mine if p["action"] == action and p["dry"] == dry
                and (hits[p["key"]] is not None) == hit]

    denied, allowed = first(those("Deny", False, True)), first(those("Allow", False, True))
    unmatched = first(those("Allow", False, False))
    known = {policy["key"] for policy in policies}
    missing = sorted(key for key in workload["listed"] if key not in known)
    audit_denies, audit_allows = first(those("Deny", True, True)), first(those("Allow", True, True))
    audit_lacks = first(those("Allow", True, False)) if not audit_allows and not allowed else None

    if denied:
        answer = (False, "denied-by", denied["key"], hits[denied["key"]])
    elif missing:
        answer = (False, "missing", missing[0], 0)
    elif allowed:
        answer = (True, "allowed-by", allowed["key"], hits[allowed["key"]])
    elif unmatched:
        answer = (False, "none-allowed", unmatched["key"], 0)
    else:
        answer = (True, "no-allow-policies", "-", 0)

    # Were they in force: the rules of 4.3 over all of them.
    would = not (denied or missing or audit_denies) and bool(
        allowed or audit_allows or not (unmatched or audit_lacks))
    keys = [p["key"] if p else "-" for p in (audit_denies, audit_allows, audit_lacks)]
    return " ".join(map(str, [int(answer[0]), *answer[1:], *keys, int(would)]))


# --- what is judged ------------------------------------------------------------------------------

def some(rng, make, most=3):
    return [make() for _ in range(rng.choice([0, 1, 1, 1, 1, 2, 2, most]))]


def random_match(rng):
    def text():
        kind = rng.choice(["Exact", "Prefix", "Suffix", "Presence"])
        return (kind, "" if kind == "Presence" else rng.choice(TEXTS))

    def cidr():
        address = rng.choice(ADDRESSES)
        return f"{address}/{rng.choice([0, 8, 16, 24, 31, 32] + [64, 127, 128] * (':' in address))}"

    make = {"namespaces": text, "principals": text, "sourceIps": cidr, "destinationIps": cidr,
            "destinationPorts": lambda: rng.choice(PORTS),
            "serviceAccounts": lambda: (rng.choice(NAMESPACES), rng.choice(ACCOUNTS))}
    match = {}
    for name in rng.sample(sorted(make), rng.choice([0, 1, 1, 1, 2, 3])):
        for key in (name, "not" + name[0].upper() + name[1:]):
            if rng.random() < 0.6:
                match[key] = some(rng, make[name])
    return match


def random_policy(rng, number):
    def rule():
        return some(rng, lambda: some(rng, lambda: random_match(rng)), 2)

    namespace = rng.choice(NAMESPACES)
    return {"name": f"p{number}", "namespace": namespace, "key": f"{namespace}/p{number}",
            "scope": rng.choice(["Global"] + ["Namespace"] * 3 + ["WorkloadSelector"] * 30),
            "action": rng.choice(["Allow", "Allow", "Deny"]), "dry": rng.random() < 0.3,
            "rules": some(rng, rule)}


def random_workload(rng, number, policies):
    listed = [policy["key"] for policy in rng.choices(policies, k=rng.choice([0, 1, 1, 2, 3, 5]))]
    if rng.random() < 0.05:
        listed.append(f"{rng.choice(NAMESPACES)}/gone{rng.randrange(3)}")
    return {"uid": f"w{number}", "namespace": rng.choice(NAMESPACES), "listed": listed}


def random_question(rng):
    identity = (f"spiffe://{rng.choice(DOMAINS)}/ns/{rng.choice(NAMESPACES)}"
                f"/sa/{rng.choice(ACCOUNTS)}")
    return {"identity": identity if rng.random() < 0.8 else None,
            "source": (rng.choice(ADDRESSES), 40000),
            "destination": (rng.choice(ADDRESSES), rng.choice(PORTS))}


# --- as the agent reads it -----------------------------------------------------------------------

def quote(text):
    return "'" + text + "'"


def yaml_item(item):
    if isinstance(item, int):
        return str(item)
    if isinstance(item, str):
        return quote(item)
    if item[0] in ("Exact", "Prefix", "Suffix"):
        return f"!{item[0]} {quote(item[1])}"
    return "!Presence []"


def yaml_list(key, items):
    if key.lower().endswith("serviceaccounts"):
        return ", ".join(f"{{namespace: {quote(ns)}, serviceAccount: {quote(sa)}}}"
                         for ns, sa in items)
    return ", ".join(map(yaml_item, items))


def yaml_match(match):
    return "{" + ", ".join(f"{key}: [{yaml_list(key, items)}]" for key, items in match.items()) + "}"


def yaml_nested(depth, value):
    return yaml_match(value) if depth == 0 else \
        "[" + ", ".join(yaml_nested(depth - 1, item) for item in value) + "]"


def mesh_file(workloads, policies):
    lines = ["workloads:"]
    for w in workloads:
        lines.append(f"- {{uid: {w['uid']}, namespace: {quote(w['namespace'])}, workloadIps: [], "
                     f"services: {{}}, authorizationPolicies: "
                     f"[{', '.join(map(quote, w['listed']))}]}}")
    lines.append("policies:")
    for p in policies:
        lines.append(f"- {{name: {p['name']}, namespace: {quote(p['namespace'])}, "
                     f"scope: {p['scope']}, action: {p['action']}, "
                     f"dryRun: {str(p['dry']).lower()}, rules: {yaml_nested(3, p['rules'])}}}")
    return "\n".join(lines) + "\n"


def endpoint(address):
    return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"


def one_round(judge_program, rng):
    """How many were judged, and how many differently; the first difference is printed."""
    policies = [random_policy(rng, number) for number in range(rng.choice([2, 10, 60]))]
    workloads = [random_workload(rng, number, policies) for number in range(WORKLOADS)]
    for workload in workloads:
        workload["listed"] = sorted(set(workload["listed"]))
    asked = [(workload, random_question(rng)) for workload in workloads for _ in range(QUESTIONS)]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(mesh_file(workloads, policies))
        file.flush()
        told = "".join(f"{w['uid']} {q['identity'] or '-'} {endpoint(q['source'])} "
                       f"{endpoint(q['destination'])}\n" for w, q in asked)
        done = subprocess.run([judge_program, file.name], input=told, text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    answers = done.stdout.splitlines()
    if done.returncode or len(answers) != len(asked):
        sys.exit(f"judge ended with {done.returncode} after {len(answers)} answers: {done.stderr}")
    wrong, verdicts = 0, {}
    for (workload, question), answer in zip(asked, answers):
        want = judge(policies, workload, question)
        verdicts[want.split()[1]] = verdicts.get(want.split()[1], 0) + 1
        if answer != want:
            if not wrong:
                mine = [policy for policy in policies if applies(policy, workload)]
                print(f"differs: {workload} {question}\n policies {mine}\n got  {answer}\n"
                      f" want {want}")
            wrong += 1
    return len(asked), wrong, verdicts


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    wanted = int(sys.argv[2]) if len(sys.argv) > 2 else 40000
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    rng = random.Random(seed)
    judged = wrong = 0
    verdicts = {}
    while judged < wanted and not wrong:
        count, differ, seen = one_round(sys.argv[1], rng)
        judged, wrong = judged + count, wrong + differ
        for key, number in seen.items():
            verdicts[key] = verdicts.get(key, 0) + number
    print(f"{judged} judgements, {wrong} disagreements, seed {seed}: "
          + ", ".join(f"{key} {number}" for key, number in sorted(verdicts.items())))
    if wanted >= 40000 and len(verdicts) < 5:
        sys.exit("not every verdict was seen: the generator tests too little")
    sys.exit(1 if wrong else 0)


main()
