"""Loads a service on loopback while a study trains, and measures what its users would see.

    python benches/load.py target/release/kindling [--pictures DIR]

Starts `kindling serve` with two workers on fresh data, twice: once alone, for what the study does undisturbed, once with
`--rate` GET /v1/tasks/ID a second, `--watchers` followers of its events, and an archive of `--gigabytes` uploaded to
another data set. A latency counts from the moment at which the request was due, not from when it could be sent, so that a
stall is seen by every request that it delays. With `--key` the service wants a key and is sent one. Who asks and who watches runs at a higher priority, where that is allowed,
as if on another machine. Needs numpy and pillow. Exit status 1 when something was not answered as it should be.
"""

import argparse
import asyncio
import http.client
import io
import json
import multiprocessing
import os
import pathlib
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
import zlib

import numpy
from PIL import Image

SIZE = (640, 480)


def say(text):
    print(text, file=sys.stderr, flush=True)


# The archive


def png(pixels):
    """A PNG whose data is stored, not packed: quick to write, and as much work as any to read."""
    height, width, _ = pixels.shape
    rows = numpy.zeros((height, 1 + 3 * width), numpy.uint8)
    rows[:, 1:] = pixels.reshape(height, -1)
    out = io.BytesIO()
    out.write(b"\x89PNG\r\n\x1a\n")
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 0)), (b"IEND", b"")):
        out.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))
    return out.getvalue()


def make_archive(path, pictures, size):
    """Each picture of the folder with noise of its own, again and again until there are so many bytes."""
    random = numpy.random.default_rng(0)
    sources = sorted(p for p in pathlib.Path(pictures).rglob("*") if p.suffix.lower() in {".jpg", ".jpeg", ".png"})
    sources = [sources[i] for i in random.permutation(len(sources))]
    noise = random.integers(-12, 13, (64, SIZE[1], SIZE[0], 3), numpy.int16)
    count, written = 0, 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        while written < size:
            source = sources[count % len(sources)]
            clean = numpy.asarray(Image.open(source).convert("RGB").resize(SIZE), numpy.int16)
            shift = tuple(random.integers(0, SIZE[1], 2))
            noisy = clean + numpy.roll(noise[random.integers(len(noise))], shift, (0, 1))
            data = png(noisy.clip(0, 255).astype(numpy.uint8))
            archive.writestr(f"{source.parent.name}/{count}.png", data)
            count, written = count + 1, written + len(data)
    return count


# The service


class Service:
    def __init__(self, binary, folder, workers, wants_key=False):
        self.folder, self.headers = folder, {}
        self.log = open(f"{folder}.log", "w")
        if wants_key:
            made = [binary, "keys", "create", "--name", "load", "--scope", "write", "--json", "--data-dir", folder]
            key = json.loads(subprocess.run(made, check=True, capture_output=True).stdout)["key"]
            self.headers = {"authorization": f"Bearer {key}"}
        command = [binary, "serve", "--json", "--listen", "127.0.0.1:0"]
        command += ["--data-dir", folder, "--workers", str(workers)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True)
        said = self.process.stdout.readline()
        if not said:
            raise SystemExit(f"the service did not start:\n{open(self.log.name).read()}")
        self.address = json.loads(said)["address"].removeprefix("http://")
        self.pid = self.process.pid

    def ask(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection(self.address, timeout=600)
        connection.request(method, path, body, {**self.headers, **(headers or {})})
        response = connection.getresponse()
        data = response.read()
        connection.close()
        if response.status >= 300:
            raise SystemExit(f"{method} {path}: {response.status} {data.decode()}")
        return json.loads(data)

    def post(self, path, value):
        return self.ask("POST", path, json.dumps(value), {"content-type": "application/json"})

    def dataset(self, name):
        return self.post("/v1/datasets", {"name": name, "kind": "image-classification"})["id"]

    def memory(self):
        """Megabytes that are resident, and of these what is the process' own, not a file's."""
        fields = dict(line.split(":", 1) for line in open(f"/proc/{self.pid}/status"))
        return [int(fields[name].split()[0]) / 1e3 for name in ("VmRSS", "RssAnon")]

    def seconds(self):
        """Processor seconds that it has used, its workers not counted."""
        fields = open(f"/proc/{self.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()


def study(service, folder, seconds):
    """Uploads the sample set and posts a task on it."""
    archive = shutil.make_archive(f"{service.folder}-sample", "zip", folder)
    dataset = service.dataset("sample")
    with open(archive, "rb") as file:
        service.ask("PUT", f"/v1/datasets/{dataset}/content", file, {"content-length": str(os.path.getsize(archive))})
    spec = {"version": 1, "name": "load", "kind": "image-classification", "dataset": dataset, "seed": 1}
    spec |= {"constraints": {"max_weights_bytes": 100_000}, "budget": {"seconds": seconds}}
    return service.post("/v1/tasks", spec)["id"]


def done(service, task):
    """How far the study came."""
    state = service.ask("GET", f"/v1/tasks/{task}")
    trials, after = [], ""
    while True:
        page = service.ask("GET", f"/v1/tasks/{task}/trials?limit=500{after}")
        trials += page["items"]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    return {
        "state": state["state"],
        "trials": len(trials),
        "rungs": sum(len(t["results"]) for t in trials),
        "epochs": sum(t["epochs"] for t in trials),
        "best": state["best"] and round(state["best"]["value"], 4),
    }


def wait_for(service, task, states):
    while service.ask("GET", f"/v1/tasks/{task}")["state"] not in states:
        time.sleep(0.5)


OVER = {"complete", "failed", "cancelled"}


# The clients, each a process of its own


def prefer(by):
    try:
        os.setpriority(os.PRIO_PROCESS, 0, by)
    except PermissionError:
        pass


class Line(asyncio.Protocol):
    """A connection that is kept: one request on its way at a time."""

    def __init__(self, finished):
        self.finished, self.buffer, self.due = finished, b"", None

    def connection_made(self, transport):
        self.transport = transport

    def send(self, request, due):
        self.due = due
        self.transport.write(request)

    def data_received(self, data):
        self.buffer += data
        head, gap, body = self.buffer.partition(b"\r\n\r\n")
        if not gap:
            return
        length = next((int(l[15:]) for l in head.lower().split(b"\r\n") if l.startswith(b"content-length:")), None)
        if length is None:
            self.finished(self, "an answer without a length")
        elif len(body) >= length:
            self.buffer = body[length:]
            good = head.startswith(b"HTTP/1.1 200 ") and b'"state"' in body
            self.finished(self, None if good else head.split(b"\r\n")[0].decode())

    def connection_lost(self, error):
        if self.due is not None:
            self.finished(self, f"the connection was lost: {error}")


def head_of(headers):
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


async def ask_on_and_on(address, path, headers, rate, stop):
    """So many requests a second, whatever becomes of them."""
    loop = asyncio.get_running_loop()
    host, port = address.split(":")
    request = f"GET {path} HTTP/1.1\r\nhost: {address}\r\n{head_of(headers)}\r\n".encode()
    free, waiting, lines = [], [], 0
    latencies, errors, late = [], [], []

    def finished(line, error):
        latencies.append((line.due, loop.time() - line.due))
        line.due = None
        if error:
            errors.append(error)
            line.transport.abort()
        elif waiting:
            line.send(request, waiting.pop(0))
        else:
            free.append(line)

    async def another():
        _, line = await loop.create_connection(lambda: Line(finished), host, int(port))
        if waiting:
            line.send(request, waiting.pop(0))
        else:
            free.append(line)

    opening = set()
    for _ in range(16):
        await another()
    start, sent = loop.time() + 0.1, 0
    while not stop.is_set():
        due = start + sent / rate
        if due > loop.time():
            await asyncio.sleep(due - loop.time())
        late.append(loop.time() - due)
        sent += 1
        if free:
            free.pop().send(request, due)
            continue
        waiting.append(due)
        if 16 + lines < 256:
            lines += 1
            opening.add(opening_one := asyncio.ensure_future(another()))
            opening_one.add_done_callback(opening.discard)
    deadline = loop.time() + 30
    while len(latencies) < sent and loop.time() < deadline:
        await asyncio.sleep(0.05)
    errors += ["never answered"] * (sent - len(latencies))
    return {"sent": sent, "latencies": latencies, "late": late, "errors": errors}


async def watch(address, path, headers):
    """Follows events until the last; returns how many came."""
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    request = f"GET {path} HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n{head_of(headers)}\r\n"
    writer.write(request.encode())
    events, last, error = 0, 0, None
    try:
        while True:
            line = await asyncio.wait_for(reader.readline(), 30)
            if not line:
                error = "the stream broke off"
                break
            if line.startswith(b"HTTP/1.1 ") and b" 200 " not in line:
                error = line.decode().strip()
                break
            if line.startswith(b"id:"):
                number = int(line[3:])
                if number <= last:
                    error = f"event {number} came after {last}"
                events, last = events + 1, number
            if line.startswith(b"event: end"):
                break
    except TimeoutError:
        error = "silence for 30 s"
    writer.close()
    return {"events": events, "error": error}


async def watch_all(address, path, headers, count):
    return await asyncio.gather(*(watch(address, path, headers) for _ in range(count)))


def upload(address, path, headers, archive):
    host, port = address.split(":")
    size = os.path.getsize(archive)
    connection = http.client.HTTPConnection(host, int(port), timeout=600, blocksize=1 << 20)
    started = time.monotonic()
    with open(archive, "rb") as file:
        connection.request("PUT", path, file, {**headers, "content-length": str(size), "prefer": "respond-async"})
        response = connection.getresponse()
        body = response.read().decode()
    return {"status": response.status, "seconds": time.monotonic() - started, "bytes": size, "body": body[:500]}


def in_process(work, priority, *arguments):
    """Runs it in a process; a pipe gives what it returns."""
    ours, theirs = multiprocessing.Pipe()

    def body():
        prefer(priority)
        result = work(*arguments)
        theirs.send(asyncio.run(result) if asyncio.iscoroutine(result) else result)

    process = multiprocessing.Process(target=body)
    process.start()
    return process, ours


class Sampler(threading.Thread):
    def __init__(self, service):
        super().__init__(daemon=True)
        self.service, self.samples, self.going = service, [], True

    def run(self):
        while self.going:
            self.samples.append((time.monotonic(), *self.service.memory()))
            time.sleep(0.2)

    def between(self, begin, end):
        """The most that was resident, and the most of its own."""
        seen = [s for s in self.samples if begin <= s[0] <= end] or [self.samples[-1]]
        return {"resident": round(max(s[1] for s in seen)), "own": round(max(s[2] for s in seen))}


def percentiles(seconds):
    found = numpy.array(seconds) * 1e3
    names = ["p50", "p95", "p99", "max"]
    return dict(zip(names, (round(float(v), 1) for v in numpy.percentile(found, [50, 95, 99, 100]))))


def latency(asked, begin=0, end=float("inf")):
    """Of the requests that were due between."""
    took = [took for due, took in asked["latencies"] if begin <= due <= end]
    return {"requests": len(took), **percentiles(took)} if took else {"requests": 0}


def loaded(binary, folder, options, pictures, archive):
    service = Service(binary, f"{folder}/loaded", options.workers, options.key)
    address, headers = service.address, service.headers
    try:
        task = study(service, pictures, options.seconds)
        other = service.dataset("large")
        wait_for(service, task, {"running"} | OVER)
        began, used = time.monotonic(), service.seconds()
        sampler = Sampler(service)
        sampler.start()
        stop = multiprocessing.Event()
        asking, asked = in_process(ask_on_and_on, -10, address, f"/v1/tasks/{task}", headers, options.rate, stop)
        watching, watched = in_process(watch_all, -10, address, f"/v1/tasks/{task}/events", headers, options.watchers)
        time.sleep(options.seconds / 8)
        body_began = time.monotonic()
        uploading, uploaded = in_process(upload, 0, address, f"/v1/datasets/{other}/content", headers, archive)
        sent = uploaded.recv()
        body_ended = time.monotonic()
        say(f"uploaded in {sent['seconds']:.1f} s: {sent['status']}")
        while (large := service.ask("GET", f"/v1/datasets/{other}"))["state"] == "processing":
            time.sleep(0.5)
        read = time.monotonic()
        say(f"read in {read - body_ended:.1f} s: {large['state']}")
        wait_for(service, task, OVER)
        study_over = time.monotonic()
        stop.set()
        asked, watched = asked.recv(), watched.recv()
        for process in (asking, watching, uploading):
            process.join()
        used = service.seconds() - used
        time.sleep(5)
        sampler.going = False
        seconds = time.monotonic() - began
        result = {
            "milliseconds": {
                "all": latency(asked),
                "before": latency(asked, 0, body_began),
                "body": latency(asked, body_began, body_ended),
                "reading": latency(asked, body_ended, read),
                "after": latency(asked, read),
                "client_late": percentiles(asked["late"]),
            },
            "failed": len(asked["errors"]),
            "errors": asked["errors"][:20] + [w["error"] for w in watched if w["error"]],
            "watchers": len(watched),
            "events_each": sorted({w["events"] for w in watched}),
            "upload": {
                "bytes": sent["bytes"],
                "seconds": round(sent["seconds"], 1),
                "mb_per_second": round(sent["bytes"] / sent["seconds"] / 1e6),
                "reading_seconds": round(read - body_ended, 1),
                "state": large["state"],
                "examples": large["summary"] and large["summary"]["examples"],
            },
            "megabytes": {
                "before": sampler.between(began, body_began),
                "body": sampler.between(body_began, body_ended),
                "reading": sampler.between(body_ended, read),
                "after": sampler.between(read + 3, read + 1e9),
            },
            "server_core_seconds": round(used, 1),
            "load_seconds": round(study_over - began, 1),
            "study": done(service, task),
        }
        result["wrong"] = bool(result["errors"]) or sent["status"] != 202 or large["state"] != "ready"
        return result
    finally:
        service.stop()


def alone(binary, folder, options, pictures):
    service = Service(binary, f"{folder}/alone", options.workers, options.key)
    try:
        task = study(service, pictures, options.seconds)
        wait_for(service, task, OVER)
        return done(service, task)
    finally:
        service.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--seconds", type=float, default=120, help="of the study")
    parser.add_argument("--rate", type=float, default=500, help="requests for its status a second")
    parser.add_argument("--watchers", type=int, default=50)
    parser.add_argument("--gigabytes", type=float, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--pictures", help="a folder of pictures for the archive; the sample set if not said")
    parser.add_argument("--archive", help="where to keep the archive; made if it is not there")
    parser.add_argument("--key", action="store_true", help="with a key")
    parser.add_argument("--only", choices=["alone", "loaded"], help="one of the two runs")
    parser.add_argument("--json", action="store_true", help="on one line")
    options = parser.parse_args()
    multiprocessing.set_start_method("fork")
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, max(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))

    binary = str(pathlib.Path(options.binary).resolve())
    with tempfile.TemporaryDirectory(prefix="kindling-load-") as folder:
        pictures = f"{folder}/pictures"
        subprocess.run([binary, "sample", "fire-smoke", pictures], check=True, stdout=subprocess.DEVNULL)
        result = {"wrong": False}
        if options.only != "loaded":
            result["study_alone"] = alone(binary, folder, options, pictures)
        if options.only != "alone":
            archive = options.archive or f"{folder}/large.zip"
            if not os.path.exists(archive):
                count = make_archive(archive, options.pictures or pictures, options.gigabytes * 1e9)
                say(f"{count} pictures, {os.path.getsize(archive) / 1e9:.2f} GB")
            result |= loaded(binary, folder, options, pictures, archive)
    print(json.dumps(result, indent=None if options.json else 2))
    return int(result["wrong"])


if __name__ == "__main__":
    sys.exit(main())
