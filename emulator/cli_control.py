"""The commands that make a running emulator fail, wait and remember: fault, events, clock ..."""

import argparse
import json
from collections.abc import Callable
from typing import Any

from emulator.config import Config

Run = Callable[[argparse.Namespace], int]
Add = Callable[[str, Run, str], argparse.ArgumentParser]
Connect = Callable[[argparse.Namespace], Config]


class ControlCommands:
    """`connect` gives the running emulator of the options, or fails in one sentence."""

    def __init__(self, connect: Connect, ask: Callable[[Config, str, str, object], Any]) -> None:
        self._connect = connect
        self._send = ask

    def register(self, command: Add) -> None:
        """Add the commands."""
        fault = command("fault", self._fault, "Let requests fail: add, list, clear.")
        actions = fault.add_subparsers(dest="action", required=True, metavar="ACTION")
        _fault_options(actions.add_parser("add", help="set a fault"))
        actions.add_parser("list", help="what is set, and how often it happened")
        clear = actions.add_parser("clear", help="take one fault away, or all")
        clear.add_argument("id", nargs="?")

        events = command("events", self._events, "List the requests that came, as JSON lines.")
        events.add_argument("--after", type=int, default=0, help="only those with a higher number")
        events.add_argument("--operation", default="*", help="a glob, e.g. 'Jobs_*'")
        events.add_argument("--kind", choices=["read", "write"])

        clock = command("clock", self._clock, "Show the emulator's time, or turn it forward.")
        clock.add_argument("advance", nargs="?", choices=["advance"])
        clock.add_argument("seconds", nargs="?", type=float)

        transition = command("transition", self._transition, "Set how resources change states.")
        _transition_options(transition)

        quota = command("quota", self._quota, "List the quotas, set one, or exhaust them.")
        quota.add_argument("action", choices=["list", "set", "exhaust", "clear"])
        quota.add_argument("family", nargs="?", default="*", help="a glob of VM families")
        quota.add_argument("limit", nargs="?", type=int, help="vCPUs")

    def _ask(self, options: argparse.Namespace, method: str, path: str, body: object = None) -> Any:
        return self._send(self._connect(options), method, path, body)

    def _fault(self, options: argparse.Namespace) -> int:
        if options.action == "add":
            print(_line(self._ask(options, "POST", "/faults", _rule(options))))
        elif options.action == "list":
            for fault in self._ask(options, "GET", "/faults")["faults"]:
                print(_line(fault))
        else:
            self._ask(options, "DELETE", f"/faults/{options.id}" if options.id else "/faults")
        return 0

    def _events(self, options: argparse.Namespace) -> int:
        from urllib.parse import urlencode

        query = {"after": options.after, "operation": options.operation}
        query |= {"kind": options.kind} if options.kind else {}
        for event in self._ask(options, "GET", f"/events?{urlencode(query)}")["events"]:
            print(json.dumps(event))
        return 0

    def _clock(self, options: argparse.Namespace) -> int:
        body = {"advance": options.seconds}
        method = "POST" if options.advance else "GET"
        answer = self._ask(options, method, "/clock", body if options.advance else None)
        print(f"{answer['now']} ({answer['offset']:g} s ahead)")
        return 0

    def _transition(self, options: argparse.Namespace) -> int:
        path = f"/transitions/{options.kind}"
        if options.mode == "advance":
            error = {"code": options.code, "message": options.message}
            given = {name: value for name, value in error.items() if value is not None}
            body = {"error": given} if given else {}
            answer = self._ask(options, "POST", f"{path}/{options.name or '*'}/advance", body)
            print("advanced:", ", ".join(answer["advanced"]))
            return 0
        body = {"mode": options.mode}
        body |= {"seconds": options.seconds} if options.seconds is not None else {}
        body |= {"states": options.states.split(",")} if options.states else {}
        failure = {
            "times": options.fail,
            "code": options.code,
            "message": options.message,
            "stderr": options.stderr,
            "name": options.name,
        }
        if options.fail:
            body["fail"] = {name: value for name, value in failure.items() if value is not None}
        print(_line(self._ask(options, "PUT", path, body)["kinds"]))
        return 0

    def _quota(self, options: argparse.Namespace) -> int:
        from urllib.parse import quote

        path = f"/quotas/{quote(options.family)}"
        if options.action == "set":
            self._ask(options, "PUT", path, {"limit": options.limit})
        elif options.action == "exhaust":
            self._ask(options, "PUT", path, {"exhausted": True})
        elif options.action == "clear":
            self._ask(options, "DELETE", "/quotas")
        for quota in self._ask(options, "GET", "/quotas")["quotas"]:
            print(f"{quota['family']}: {quota['used']} of {quota['limit']} vCPUs used")
        return 0


def _line(value: Any) -> str:
    return json.dumps(value)


def _fault_options(add: argparse.ArgumentParser) -> None:
    add.add_argument("operation", help="name or glob, e.g. Jobs_CreateOrUpdate or 'Blob_*'")
    for name in ("method", "host", "path"):
        add.add_argument(f"--{name}")
    add.add_argument("--times", default="1", help="how often (default 1), or 'ever'")
    add.add_argument("--after", type=int, help="matching requests that pass before")
    add.add_argument("--probability", type=float)
    add.add_argument("--seed", type=int)
    add.add_argument("--delay", type=float, help="seconds")
    add.add_argument("--status", type=int)
    add.add_argument("--header", action="append", default=[], metavar="NAME: VALUE")
    add.add_argument("--code")
    add.add_argument("--message")
    add.add_argument("--effect", action="store_true", help="with --status: it happens all the same")
    add.add_argument("--reset", choices=["before", "after"])
    add.add_argument("--body", choices=["broken", "cut", "empty"])
    add.add_argument("--merge", type=json.loads, metavar="JSON", help="merged into the answer")
    add.add_argument("--hold", choices=["before", "after"])
    add.add_argument("--token", help="expired, revoked, or seconds")
    add.add_argument("--lro", choices=["fail", "never"], help="the long-running operation's end")


def _rule(options: argparse.Namespace) -> dict[str, Any]:
    rule: dict[str, Any] = {
        name: value
        for name in ("operation", "method", "host", "path", "after", "probability", "seed")
        if (value := getattr(options, name)) is not None
    }
    names = ("delay", "status", "reset", "body", "merge", "hold", "token")
    action: dict[str, Any] = {
        name: value for name in names if (value := getattr(options, name)) is not None
    }
    texts = {n: v for n in ("code", "message") if (v := getattr(options, n)) is not None}
    if options.lro:
        action["operation"] = "never" if options.lro == "never" else texts
    else:
        action |= texts
    if options.header:
        pairs = (header.partition(":") for header in options.header)
        action["headers"] = {name.strip(): value.strip() for name, _, value in pairs}
    if options.effect:
        action["effect"] = True
    if options.token and options.token.isdigit():
        action["token"] = int(options.token)
    times = None if options.times == "ever" else options.times
    rule["times"] = int(times) if times is not None and times.isdigit() else times
    return rule | {"action": action}


def _transition_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", help="jobs, computes, endpoints or deployments")
    parser.add_argument("mode", choices=["immediate", "timed", "manual", "advance"])
    parser.add_argument("--seconds", type=float, help="in each state, for timed")
    parser.add_argument("--states", help="only these, separated by commas")
    parser.add_argument("--name", help="with advance or --fail: whose, a glob")
    parser.add_argument("--fail", type=int, metavar="N", help="the next N of the kind fail")
    for name in ("code", "message", "stderr"):
        parser.add_argument(f"--{name}", help="of the failure")
