"""What schemathesis is told of this service beside its OpenAPI document (tests/schemathesis.sh names this file).

A request that fits the document must be taken. What no schema can say of a request is refused with words all the same; UNSAID
lists all of that, by operation: a refusal that is not on the list fails the run.
"""

import itertools
import json
import os
import re

import schemathesis

#: A data set, a draft, a task and so on that are there, by what their ids begin with.
KNOWN = json.loads(os.environ["KINDLING_KNOWN"])

BYTES = "uploadContent|addPictures|uploadPart|predict"
#: Operations, the codes of problems, and what their texts (of a specification each broken rule's) begin with or say.
UNSAID = [
    # What bytes are: archives, pictures, their hashes and lengths.
    (
        BYTES,
        "invalid_archive|unsafe_path|nested_archive|archive_too_large|invalid_layout|too_few_examples|invalid_image|image_too_large",
        "",
    ),
    (BYTES, "invalid_request", r"the digest of what arrived|part \d+ has \d+ bytes|there is no part|the body is empty"),
    # What a product of two members may be.
    ("beginUpload", "invalid_request", r"`bytes` must be from 1 to \d+ \("),
    # What classes a data set or a draft has, what its labels are, how many examples a class has, how small a network can be.
    ("createTask|createFleet", "invalid_spec", "the data set has no class|`.*` is not a class of this task"),
    ("createTask|createFleet", "invalid_spec", "is missing; name the class whose examples are good"),
    # That a backbone's weights were fetched.
    ("createTask|createFleet", "invalid_spec", r"the weights of `[a-z0-9-]+` are not here"),
    ("createTask|createFleet", "limits_too_tight", ""),
    ("createTask|createFleet", "invalid_layout|too_few_examples", ""),
    ("createTask", "invalid_request", r"`.*` has \d+ pictures in its|\d+ pictures have several boxes"),
    ("createFleet", "invalid_spec", "leaves no class to make a specialist of|.* are too few for|.* classes would get one"),
    ("listExamples|showDataset", "invalid_request", "`class`: the data set has no class"),
    ("createDraft", "invalid_request", "`labels` are"),
    ("labelDraftExample", "invalid_request", "`.*`: the draft has no class|the draft's labels are|`boxes/.*: x, y, width and height"),
    ("sealDraft", "too_few_examples", ""),
    ("relabelDataset", "too_few_examples", ""),
    ("relabelDataset", "invalid_request", "`changes/.*: the data set has no class|nothing would change|.*was named before"),
    ("addDraftClasses", "invalid_request", r"\d+ classes are more than"),
    # That a whole number is written as one: to JSON Schema 20.0 is one, too.
    (".*", "invalid_request", r"the body cannot be read: invalid type: floating point `\d+\.0`, expected u"),
    ("createTask|createFleet", "invalid_spec", r"must be a whole number from \d+ to \d+, not \d+\.0$"),
    # That a class is in two lists.
    ("createTask", "invalid_spec", "`.*` is already in"),
    ("createFleet", "invalid_spec", "`.*` is in `specialists` too"),
    # That a key came with another body before.
    (".*", "idempotency_conflict", ""),
]

numbers = itertools.count()


def is_unsaid(operation: str, problem: dict) -> bool:
    """Whether every fault that the problem tells of is one that the document cannot."""
    texts = [violation["message"] for violation in problem.get("violations", [])] or [problem["detail"]]
    listed = [text for at, code, text in UNSAID if re.fullmatch(at, operation) and re.fullmatch(code, problem["code"])]
    return bool(listed) and all(any(re.match(text, told) for text in listed) for told in texts)


@schemathesis.hook
def filter_failure(context, failure, case, response):
    # Of wrong keys only so many are looked at; the answer to more of them is no secret's either.
    if "got `429 Too Many Requests`" in failure.message:
        return False
    if type(failure).__name__ != "RejectedPositiveData":
        return True
    problem = response.json() if "problem+json" in response.headers.get("content-type", [""])[0] else {}
    return not (problem and is_unsaid(case.operation.definition.raw["operationId"], problem))


@schemathesis.hook
def before_call(context, case, kwargs):
    body = case.body if isinstance(case.body, dict) else {}
    # Messages to strangers would be rude: no name leads from there anywhere.
    if isinstance(body.get("url"), str) and body["url"].startswith("https://"):
        body["url"] = f"https://{next(numbers)}.invalid/"
    if not case.meta.generation.mode.is_positive:
        return
    # An id of the right form is nearly always nobody's, and no more of the request is looked at.
    for member in ("dataset", "from"):
        if re.fullmatch("ds_[0-9a-f]{32}", str(body.get(member))) and next(numbers) % 4:
            body[member] = KNOWN["waiting" if "bytes" in body else "dataset"]
